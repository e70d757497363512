"""The event stream: records become JSON messages on a ZeroMQ socket, and a subscriber turns them into dicts again."""

from livespot.publish.messages import Message, schema
from livespot.publish.subscriber import Subscription, subscribe
from livespot.publish.zmq import Publisher

__all__ = ["Message", "Publisher", "Subscription", "schema", "subscribe"]
