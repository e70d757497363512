"""Files that come with livespot: inside the package once installed, beside it in a checkout."""

from pathlib import Path

_PACKAGE = Path(__file__).parent


def asset(folder: str, name: str) -> Path:
    """Path of `name` in `folder` ("engines" or "configs"); where neither place holds it, the installed one."""
    installed = _PACKAGE / folder / name
    in_checkout = _PACKAGE.parent / folder / name
    return in_checkout if not installed.exists() and in_checkout.exists() else installed
