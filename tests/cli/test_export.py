"""`livespot export`, with what it tells about half precision and parity."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from livespot.cli import app
from livespot.cli.learning import _compare
from livespot.nets.checkpoint import Checkpoint
from livespot.nets.light import Light
from livespot.parity import Parity


def test_half_precision_and_a_video_end_in_a_report(tmp_path: Path, video: Path) -> None:
    torch.manual_seed(0)
    net, settings = Light(), {"network": "light", "seed": 0}
    with torch.no_grad():
        net.judge.bias.sub_(3)  # untrained, it would waver around the threshold
    checkpoint, path = tmp_path / "best.pt", tmp_path / "net.onnx"
    Checkpoint(1, net.state_dict(), {}, torch.get_rng_state(), settings, {}, {}, "abc").save(checkpoint)
    told = CliRunner().invoke(app, ["export", str(checkpoint), str(path), "--half", "--video", str(video)])
    assert told.exit_code == 0 and "differs from PyTorch by" in told.stderr
    assert "from PyTorch; 0 events, the same events" in told.stderr
    report = json.loads((tmp_path / "net.parity.json").read_text())
    assert (report["video"], report["same_events"]) == (video.name, True)
    assert report["clips"] > 50 and report["mean_difference"] <= report["largest_difference"] <= 2e-2


@pytest.mark.parametrize(
    ("video", "name"), [("demo://?realtime=0", "demo://?realtime=0"), ("films/a.mp4", "a.mp4"), ("films/b/.", "b")]
)
def test_the_report_names_the_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, video: str, name: str) -> None:
    monkeypatch.setattr("livespot.parity.compare", lambda *_: Parity(9, 0.0, 0.0, 0, True))
    _compare(tmp_path / "net.onnx", tmp_path / "best.pt", video)
    assert json.loads((tmp_path / "net.parity.json").read_text())["video"] == name
