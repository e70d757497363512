"""`livespot export`, with what it tells about half precision and parity."""

import json
from pathlib import Path

import torch
from typer.testing import CliRunner

from livespot.cli import app
from livespot.nets.checkpoint import Checkpoint
from livespot.nets.light import Light


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
