"""Passwords out of the environment and out of files."""

from pathlib import Path

import pytest

from livespot.capture.secrets import filled
from livespot.capture.source import redact, source_name
from livespot.errors import SettingsError


def test_an_address_without_places_stays_as_it_is() -> None:
    for url in ("rtsp://me:p$ss@camera/live", "http://camera/{a}?b=$c", "rtsp://me:%40@camera/live"):
        assert filled(url) == url


def test_a_login_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMERA_LOGIN", "me:secret")
    assert filled("rtsp://${CAMERA_LOGIN}@camera/live") == "rtsp://me:secret@camera/live"


def test_a_password_may_hold_any_character(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSWORD", "s@/?#% ${é}")
    assert filled("rtsp://me:${PASSWORD}@camera/live") == "rtsp://me:s%40%2F%3F%23%25%20%24%7B%C3%A9%7D@camera/live"


def test_a_password_comes_from_a_file_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n", encoding="utf-8")
    assert filled(f"rtsp://me:${{file:{tmp_path}/password}}@camera/") == "rtsp://me:secret@camera/"


def test_what_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CAMERA_LOGIN", raising=False)
    with pytest.raises(SettingsError, match="environment variable CAMERA_LOGIN, which is not set"):
        filled("rtsp://${CAMERA_LOGIN}@camera/live")
    with pytest.raises(SettingsError, match=r"the file .*none, which cannot be read: No such file"):
        filled(f"rtsp://me:${{file:{tmp_path}/none}}@camera/live")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(SettingsError, match="it is no text"):
        filled(f"rtsp://me:${{file:{tmp_path}/bytes}}@camera/live")


def test_places_are_not_part_of_a_name_and_are_not_shown() -> None:
    url = "rtsp://${CAMERA_LOGIN}@10.0.0.7/main"
    assert source_name(url) == "10-0-0-7"
    assert redact(url) == "rtsp://***@10.0.0.7/main"
