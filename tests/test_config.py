from pathlib import Path
from typing import Any

import pytest

from livespot.config import Settings, SourceSettings, check, load, override
from livespot.errors import SettingsError


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises(SettingsError) as caught:
        check(values, "live.yaml")
    return str(caught.value)


def test_nothing_said_is_the_defaults() -> None:
    assert check({}, "nothing") == Settings()


def test_a_source_may_be_a_number_or_an_address_alone() -> None:
    settings = check({"sources": [0, "talk.mp4", {"uri": "rtsp://cam/1", "name": "door"}]}, "live.yaml")
    assert [source.uri for source in settings.sources] == ["0", "talk.mp4", "rtsp://cam/1"]
    assert settings.sources[2] == SourceSettings(uri="rtsp://cam/1", name="door")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"decod": {}},
            "decod, given as a dict, is no setting; allowed here: "
            "align, capture, decode, infer, method, metrics, motion, publish, record, sources",
        ),
        ({"publish": {"user_password": "hunter2"}}, "publish.user_password, given as a str, is no setting"),
        (
            {"infer": {"thread": 2}},
            "infer.thread, given as 2, is no setting; allowed here: engine, gather_ms, model, processes, threads",
        ),
        (
            {"sources": [{"uri": "0", "nme": "a"}]},
            "sources.0.nme, given as 'a', is no setting; allowed here: fps, mirror, name, ",
        ),
        ({"infer": {"threads": 0}}, "infer.threads is 0: input should be greater than or equal to 1"),
        ({"infer": {"threads": "two"}}, "infer.threads is 'two': input should be a valid integer"),
        ({"decode": {"hysteresis": 0}}, "decode.hysteresis is 0: input should be greater than 0"),
        ({"decode": {"micro_threshold": 0}}, "decode.micro_threshold is 0: input should be greater than 0"),
        ({"decode": {"macro_threshold": 0}}, "decode.macro_threshold is 0: input should be greater than 0"),
        ({"align": {"max_gap_s": 0.4}}, "align.max_gap_s is 0.4: input should be less than or equal to 0.3"),
        ({"align": {"key_age_s": 0}}, "align.key_age_s is 0: input should be greater than 0"),
        ({"decode": {"hysteresis": 1.5}}, "decode.hysteresis is 1.5: input should be less than or equal to 1"),
        ({"decode": {"min_s": float("nan")}}, "decode.min_s is nan: input should be a finite number"),
        ({"decode": {"max_s": float("inf")}}, "decode.max_s is inf: input should be a finite number"),
        ({"decode": {"cutoff_hz": 100}}, "decode.cutoff_hz is 100: input should be less than 100"),
        ({"capture": {"rtsp_transport": "quic"}}, "capture.rtsp_transport is 'quic': input should be 'tcp' or 'udp'"),
        ({"publish": {"endpoint": "5556"}}, "publish.endpoint is '5556': string should match pattern"),
        ({"sources": [{"name": "door"}]}, "sources.0.uri is missing"),
        ({"sources": [{"uri": "0", "name": "front.door"}]}, "sources.0.name is 'front.door': string should match"),
        ({"publish": None}, "publish holds a NoneType; expected keys of allowed_keys, encoding, endpoint, "),
        ({"sources": [{"uri": "a/", "fps": 241}]}, "sources.0.fps is 241: input should be less than or equal to 240"),
        ({"sources": [1.5]}, "sources.0 holds a float; expected keys of fps, mirror, name, "),
    ],
)
def test_a_refusal_names_file_key_value_and_what_is_allowed(values: dict[str, Any], message: str) -> None:
    assert f"live.yaml: {message}" in refusal(values)


@pytest.mark.parametrize(
    "durations", [{"min_s": 0.6}, {"micro_max_s": 5.0}, {"max_s": 0.4}, {"min_s": 5, "micro_max_s": 6, "max_s": 5.5}]
)
def test_durations_have_to_be_in_order(durations: dict[str, float]) -> None:
    assert "expected min_s <= micro_max_s <= max_s, but they are " in refusal({"decode": durations})


def test_every_wrong_key_is_named_at_once() -> None:
    assert refusal({"infer": {"threads": 0}, "align": {"max_faces": 17}, "x": 1}).count("live.yaml: ") == 3


def test_a_refusal_shows_no_password() -> None:
    address = "rtsp://admin:secret@cam/1"
    assert refusal({"sources": address}) == "live.yaml: sources holds a str; expected a list"
    assert refusal({"sources": [{"uri": "0", "name": address}]}).startswith("live.yaml: sources.0.name is a str: ")
    assert refusal({"sources": [{"uri": [address]}]}).startswith("live.yaml: sources.0.uri is a list: ")


def test_settings_that_are_printed_show_no_password() -> None:
    settings = check({"sources": [{"uri": "rtsp://admin:secret@cam/1", "name": "door"}]}, "live.yaml")
    assert "door" in repr(settings)
    assert "secret" not in repr(settings) + str(settings)


def test_a_file_is_read_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "live.yaml"
    path.write_text("sources: [0]\ndecode:\n  min_s: 0.2  # longer\n", encoding="utf-8")
    assert load(path) == {"sources": [0], "decode": {"min_s": 0.2}}


@pytest.mark.parametrize("content", ["", "# nothing\n", "---\n"])
def test_an_empty_file_says_nothing(tmp_path: Path, content: str) -> None:
    path = tmp_path / "live.yaml"
    path.write_text(content, encoding="utf-8")
    assert load(path) == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"sources: [0\ndecode: {}\n", "is not YAML in line 2: "),
        (b"sources: \x07", "is not YAML: "),
        (b"- 0\n- 1\n", "holds a list; expected keys such as sources:, decode:"),
        (b"webcam\n", "holds a str; expected keys"),
        (b"\xff\xfe\x00", "cannot be read: "),
    ],
)
def test_a_file_that_is_no_settings_says_so_with_its_name(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "live.yaml"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path} {message}")
    assert "\n" not in str(caught.value)


def test_the_line_of_a_yaml_mistake_is_named(tmp_path: Path) -> None:
    path = tmp_path / "live.yaml"
    path.write_text("decode:\n  min_s: 0.2\n max_s: 3\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="line 3"):
        load(path)


def test_a_yaml_mistake_is_told_without_the_password_in_its_line(tmp_path: Path) -> None:
    path = tmp_path / "live.yaml"
    path.write_text('sources: [{uri: "rtsp://admin:secret@cam/1" name: door}]\n', encoding="utf-8")
    with pytest.raises(SettingsError, match="is not YAML in line 1: expected") as caught:
        load(path)
    assert "secret" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no settings file .*gone\.yaml"):
        load(tmp_path / "gone.yaml")
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path)


def test_flags_go_before_the_file_and_those_not_given_leave_it_alone() -> None:
    values = {"sources": [0], "decode": {"min_s": 0.2, "max_s": 3.0}}
    flags = {"sources": ["talk.mp4"], "decode.min_s": 0.3, "decode.max_s": None, "publish.scores": True}
    assert override(values, flags) == {
        "sources": ["talk.mp4"],
        "decode": {"min_s": 0.3, "max_s": 3.0},
        "publish": {"scores": True},
    }


def test_laying_flags_over_values_leaves_the_values_alone() -> None:
    values = {"decode": {"min_s": 0.2}}
    override(values, {"decode.min_s": 0.3, "infer.threads": 2})
    assert values == {"decode": {"min_s": 0.2}}


def test_a_flag_does_not_hide_a_section_that_is_wrong() -> None:
    assert "decode holds a str" in refusal(override({"decode": "fast"}, {"decode.min_s": 0.3}))


def test_a_flag_that_reaches_into_a_list_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"sources\.0\.fps cannot be given alone, sources is a list"):
        override({"sources": [{"uri": "frames"}]}, {"sources.0.fps": 25})


def test_settings_do_not_change_once_checked() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().infer.threads = 2  # type: ignore[misc]
