"""livespot spots micro- and macro-expressions of faces in live video.

for event in livespot.spot("interview.mp4"):
    print(event.type, event.onset_s, event.offset_s)

with livespot.subscribe("tcp://127.0.0.1:5556") as events:
    for event in events:
        print(event["type"], event["onset_s"])
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from livespot.publish.subscriber import subscribe, subscribe_async
    from livespot.spotting import spot

__all__ = ["spot", "subscribe", "subscribe_async"]


def __getattr__(name: str) -> Any:
    """Loaded at first use: a subscriber needs no MediaPipe, a spotter no ZeroMQ."""
    if name == "spot":
        from livespot.spotting import spot

        return spot
    if name in ("subscribe", "subscribe_async"):
        from livespot.publish import subscriber

        return getattr(subscriber, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
