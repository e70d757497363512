"""An exported engine and its checkpoint on the same video."""

from pathlib import Path

import numpy as np
import pytest
import torch

from livespot import parity
from livespot.errors import EngineError, SourceError
from livespot.export import HALF_PARITY, PARITY, export
from livespot.nets.checkpoint import Checkpoint
from livespot.nets.yap2022 import Yap2022
from livespot.parity import Parity, compare
from livespot.records import Calibration, Event, ExpressionType
from tests.films import BLANK, write_video

LOW = Calibration(cutoff_hz=5.0, micro_threshold=0.3, macro_threshold=0.3)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its scores follow the picture, far enough for events."""
    torch.manual_seed(0)
    net, path = Yap2022(), tmp_path_factory.mktemp("run") / "best.pt"
    with torch.no_grad():
        net.judge.weight.mul_(40)
    Checkpoint(1, net.state_dict(), {}, torch.get_rng_state(), {"seed": 0}, {}, {}, "abc").save(path)
    return path


def event(kind: ExpressionType, onset: int) -> Event:
    at_s, at = (onset / 30, (onset + 5) / 30, (onset + 9) / 30), (onset, onset + 5, onset + 9)
    return Event(
        f"e{onset}", "close", kind, "film", 0, at_s[0], at[0], at_s[1], at[1], at_s[2], at[2], 0.9, at_s[2], 0.0
    )


@pytest.mark.parametrize("half", [False, True])
def test_scores_and_events_of_a_video_are_the_same(checkpoint: Path, half: bool, tmp_path: Path, video: Path) -> None:
    path = tmp_path / "net.onnx"
    export(checkpoint, path, LOW, half=half)
    found = compare(path, checkpoint, str(video))
    assert found.clips > 50 and found.events >= 1 and found.same_events
    assert found.mean_difference <= found.largest_difference <= (HALF_PARITY if half else PARITY)


def test_other_events_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, events = np.full((4, 2), 0.5), [event("micro", 3), event("macro", 40)]
    found = iter([(scores, events), (scores + 0.015625, events), (scores, events), (scores, events[1:])])
    monkeypatch.setattr(parity, "_spotted", lambda *_: next(found))
    paths = (Path("net.onnx"), Path("best.pt"), "demo://")
    assert compare(*paths) == Parity(4, 0.015625, 0.015625, len(events), True)
    assert not compare(*paths).same_events


def test_a_video_without_a_face_compares_nothing(checkpoint: Path, tmp_path: Path) -> None:
    export(checkpoint, tmp_path / "net.onnx", LOW)
    video = write_video(tmp_path / "blank.avi", [BLANK] * 5)
    with pytest.raises(SourceError, match="no clip is in"):
        compare(tmp_path / "net.onnx", checkpoint, str(video))


def test_the_checkpoint_of_another_training_is_refused(checkpoint: Path, tmp_path: Path, video: Path) -> None:
    export(checkpoint, tmp_path / "net.onnx", LOW)
    torch.manual_seed(1)
    other = Checkpoint(1, Yap2022().state_dict(), {}, torch.get_rng_state(), {"seed": 0}, {}, {}, "abc")
    other.save(tmp_path / "other.pt")
    with pytest.raises(EngineError, match="of another training"):
        compare(tmp_path / "net.onnx", tmp_path / "other.pt", str(video))
