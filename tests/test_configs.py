"""The example settings are complete, commented, and true."""

from pathlib import Path
from typing import Any

import pytest

from livespot import config
from livespot.assets import asset
from livespot.config import Settings

LIVE, JETSON = asset("configs", "live.yaml"), asset("configs", "jetson.yaml")


def keys(values: dict[str, Any], prefix: str = "") -> set[str]:
    """Dotted names of all settings; what belongs to one source is left out."""
    names: set[str] = set()
    for key, value in values.items():
        names |= keys(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key}
    return names


def test_live_says_every_default_and_one_webcam() -> None:
    settings = config.check(config.load(LIVE), str(LIVE))
    assert settings == config.check({"sources": ["0"]}, "defaults")


@pytest.mark.parametrize("path", [LIVE, JETSON], ids=lambda path: path.name)
def test_the_file_holds_every_setting(path: Path) -> None:
    assert keys(config.load(path)) == keys(Settings().model_dump())


@pytest.mark.parametrize("path", [LIVE, JETSON], ids=lambda path: path.name)
def test_the_file_is_valid_and_each_setting_is_explained(path: Path) -> None:
    config.check(config.load(path), str(path))
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("  ") and " # " not in line] == []
