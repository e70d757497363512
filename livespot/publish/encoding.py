"""How an object is written on the wire: JSON, or msgpack where that is chosen. The first byte tells which.

Text may hold half characters, which cannot be sent: a file name that is not UTF-8 has them, and JSON may. A ? goes out
in their place.
"""

import json
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeAlias

from livespot.errors import PublishError

Encoding: TypeAlias = Literal["json", "msgpack"]
Encode: TypeAlias = Callable[[dict[str, Any]], bytes]

_BRACE = ord("{")
_MSGPACK_MAPS = {*range(0x80, 0x90), 0xDE, 0xDF}
"""First bytes of an object in JSON and in msgpack."""

_JSON = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def encoder(encoding: Encoding) -> Encode:
    """What writes objects in `encoding`. Raises PublishError where msgpack is not installed."""
    return _to_json if encoding == "json" else partial(_msgpack().packb, unicode_errors="replace")


def decode(content: bytes) -> dict[str, Any]:
    """The object that was written, in either encoding. Raises ValueError for anything else.

    Raises PublishError for msgpack where that is not installed.
    """
    first = content[0] if content else None
    try:
        if first == _BRACE:
            return json.loads(content)  # type: ignore[no-any-return]
        if first in _MSGPACK_MAPS:
            return _msgpack().unpackb(content)  # type: ignore[no-any-return]
    except RecursionError:
        raise ValueError("nested too deep") from None
    raise ValueError("neither a JSON nor a msgpack object")


def _to_json(value: dict[str, Any]) -> bytes:
    return _JSON.encode(value).encode("utf-8", "replace")


def _msgpack() -> Any:
    try:
        import msgpack
    except ModuleNotFoundError:
        raise PublishError("msgpack is not installed: pip install 'livespot[msgpack]', or publish JSON") from None
    return msgpack
