"""What the doctor finds: on this machine, and on machines that are made ill on purpose."""

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import cv2
import pytest
import zmq

from livespot import doctor
from livespot.capture import opencv, trouble
from livespot.config import PublishSettings
from livespot.doctor import Finding, examine, exit_code
from livespot.engines import nvidia
from tests.films import BLANK, write_video


def found(what: str) -> Finding:
    [finding] = [finding for finding in examine() if finding.what == what]
    return finding


def test_every_part_is_examined_and_every_complaint_has_a_cure() -> None:
    findings = examine()
    assert {"Python", "OpenCV", "video", "cameras", "MediaPipe", "ONNX Runtime", "default engine"} <= {
        finding.what for finding in findings
    }
    assert {"NVIDIA GPU", "TensorRT", "event port", "window", "torch"} <= {finding.what for finding in findings}
    assert all(finding.found for finding in findings)
    assert all(bool(finding.cure) == (finding.state != "ok") for finding in findings)
    assert json.loads(json.dumps([asdict(finding) for finding in findings]))


@pytest.mark.parametrize("what", ["Python", "OpenCV", "video", "MediaPipe", "ONNX Runtime"])
def test_what_the_tests_themselves_need_is_well(what: str) -> None:
    assert found(what).state == "ok"


def test_the_exit_code_tells_failures_from_warnings() -> None:
    well, warned = Finding("a", "ok", "1"), Finding("b", "warning", "none", "get one")
    assert exit_code([well, warned]) == 0
    assert exit_code([well, warned, Finding("c", "failed", "broken", "mend it")]) == 1


def test_a_library_that_does_not_load_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    finding = found("ONNX Runtime")
    assert finding.state == "failed"
    assert "onnxruntime" in finding.found
    assert "pip install" in finding.cure


def test_a_library_of_another_version_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, "mediapipe", "0.10.31")
    monkeypatch.syspath_prepend(tmp_path)
    finding = found("MediaPipe")
    assert (finding.state, finding.found) == ("failed", "0.10.31")
    assert "mediapipe>=0.10.14,<0.10.30" in finding.cure


def package(folder: Path, name: str, version: str) -> None:
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")


def test_two_providers_of_cv2_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, "opencv-python", "4.12.0")
    monkeypatch.syspath_prepend(tmp_path)
    finding = found("OpenCV")
    assert finding.state == "warning"
    assert "opencv-contrib-python, opencv-python" in finding.found
    assert "pip uninstall -y opencv-contrib-python opencv-python" in finding.cure


def test_two_providers_of_onnx_runtime_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, "onnxruntime-gpu", "1.31.1")
    monkeypatch.syspath_prepend(tmp_path)
    finding = found("ONNX Runtime")
    assert finding.state == "warning" and finding.found.endswith("from onnxruntime, onnxruntime-gpu")
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in finding.cure


def test_the_engine_is_told_with_the_reason_why_it_is_no_faster_one() -> None:
    finding = found("default engine")
    assert "no engine for a GPU: there is no NVIDIA GPU" in finding.found or nvidia()


def test_an_installed_tensorrt_without_a_driver_or_an_engine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = ModuleType("tensorrt")
    vars(installed).update(__version__="10.3.0", __spec__=ModuleSpec("tensorrt", None))
    monkeypatch.setitem(sys.modules, "tensorrt", installed)
    finding = found("TensorRT")
    assert finding.state == "warning" and finding.found.startswith("10.3.0; ")
    assert finding.cure == "a slower engine is used until `livespot build default`"


def test_an_engine_that_is_missing_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("livespot.infer.onnx.asset", lambda folder, name: tmp_path / folder / name)
    finding = found("default engine")
    assert finding.state == "failed"
    assert finding.found.startswith("no engine named default")


def test_a_port_in_use_is_a_warning_since_livespot_itself_may_hold_it() -> None:
    endpoint = PublishSettings().endpoint
    with zmq.Context() as context, context.socket(zmq.PUB) as other:
        with suppress(zmq.ZMQError):  # where somebody else holds it already: just as well
            other.bind(endpoint)
        finding = found("event port")
    assert finding.state == "warning"
    assert finding.found.startswith(f"{endpoint}: ")
    assert "ss -ltnp 'sport = :5556'" in finding.cure


def test_a_camera_that_does_not_open_is_found_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "video97").touch()
    monkeypatch.setattr(trouble, "DEVICES", tmp_path)
    finding = found("cameras")
    assert finding.state == "warning"
    assert finding.found.startswith(f"camera 97 cannot be opened: {tmp_path}/video97 exists but")


def test_a_camera_that_opens_but_gives_no_picture_is_not_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "video97").touch()
    read_out = cv2.VideoCapture(str(write_video(tmp_path / "one.avi", [BLANK])))
    read_out.read()
    monkeypatch.setattr(trouble, "DEVICES", tmp_path)
    monkeypatch.setattr(opencv, "_open", lambda *_: read_out)
    finding = found("cameras")
    assert finding.state == "warning"
    assert finding.found.startswith("camera 97 opens but gives no picture")


def test_a_camera_that_gives_pictures_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "video97").touch()
    film = cv2.VideoCapture(str(write_video(tmp_path / "one.avi", [BLANK])))
    monkeypatch.setattr(trouble, "DEVICES", tmp_path)
    monkeypatch.setattr(opencv, "_open", lambda *_: film)
    assert found("cameras").state == "ok"


def test_no_camera_is_only_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trouble, "DEVICES", tmp_path)
    finding = found("cameras")
    assert (finding.state, finding.found) == ("warning", "none")


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def test_a_gpu_is_told_with_its_driver_and_asks_for_tensorrt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "nvidia-smi", "echo 'NVIDIA T4, 550.54, 15360 MiB'")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(doctor, "find_spec", lambda _: None)
    assert found("NVIDIA GPU") == Finding("NVIDIA GPU", "ok", "NVIDIA T4, 550.54, 15360 MiB")
    assert "pip install 'livespot[tensorrt]'" in found("TensorRT").cure


def test_a_driver_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "nvidia-smi", "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    finding = found("NVIDIA GPU")
    assert finding.state == "warning"
    assert "Driver/library version mismatch" in finding.found


def test_what_is_optional_and_broken_is_only_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorrt.py").write_text("raise OSError('libnvinfer.so.10: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    finding = found("TensorRT")
    assert finding.state == "warning"
    assert "libnvinfer.so.10" in finding.found


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no display variables")
def test_a_missing_screen_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert found("window").state == "warning"
    monkeypatch.setenv("DISPLAY", ":0")
    assert found("window").state == "ok"
