"""The event stream: records become messages on ZeroMQ sockets, and a subscriber turns them into dicts again."""

from livespot.publish.messages import Message, schema
from livespot.publish.subscriber import AsyncSubscription, Subscription, subscribe, subscribe_async
from livespot.publish.zmq import Publisher

__all__ = ["AsyncSubscription", "Message", "Publisher", "Subscription", "schema", "subscribe", "subscribe_async"]
