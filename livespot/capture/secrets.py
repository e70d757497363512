"""Passwords that are not written into settings or shells: `rtsp://${CAMERA_LOGIN}@10.0.0.7/main`."""

import os
import re
from pathlib import Path
from urllib.parse import quote

from livespot.errors import SettingsError

PLACE = re.compile(r"\$\{(file:)?([^}]*)\}")


def filled(url: str) -> str:
    """The address with `${NAME}` replaced by that environment variable, `${file:PATH}` by what that file holds.

    Values are escaped, so that a password may hold any character; a colon stands between user and password. Raises
    SettingsError for what is not there.
    """
    return PLACE.sub(lambda place: quote(_secret(bool(place[1]), place[2]), safe=":"), url)


def _secret(in_file: bool, name: str) -> str:
    if not in_file:
        if name not in os.environ:
            raise SettingsError(f"an address needs the environment variable {name}, which is not set: export it")
        return os.environ[name]
    try:
        return Path(name).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SettingsError(f"an address needs the file {name}, which cannot be read: {why}") from None
