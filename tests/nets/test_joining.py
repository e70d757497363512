from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from livespot.config import InferSettings
from livespot.errors import LivespotError
from livespot.export import PARITY, export
from livespot.infer.onnx import OnnxScorer
from livespot.nets.checkpoint import Checkpoint
from livespot.nets.joining import join
from livespot.nets.loading import network
from livespot.nets.motion import MotionNet, MotionNetSettings

SMALL = MotionNetSettings(levels=3, filters=4, width=8, dilations=(4, 8), lookahead_s=0.1)


def run(folder: Path, seed: int, **settings: Any) -> Path:
    """A checkpoint of a network with weights of its own."""
    torch.manual_seed(seed)
    net = MotionNet(SMALL)
    path = folder / f"{seed}.pt"
    settings = {"network": "motion", "seed": seed, "net": asdict(SMALL)} | settings
    Checkpoint(9, net.state_dict(), {}, torch.get_rng_state(), settings, {"training": ["a"]}, {}, "abc").save(path)
    return path


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return [run(tmp_path, seed) for seed in (3, 4, 5)]


def windows(count: int, cells: int) -> torch.Tensor:
    return 0.01 * torch.from_numpy(np.random.default_rng(1).normal(size=(count, 85, cells)).astype(np.float32))


def test_joined_networks_judge_the_mean_of_what_each_judges(runs: list[Path]) -> None:
    joined, alone = network(join(runs)), [network(Checkpoint.load(path)) for path in runs]
    assert isinstance(joined, MotionNet)
    window = windows(2, joined.cells)
    with torch.no_grad():
        wanted = torch.sigmoid(torch.stack([torch.logit(net(window)) for net in alone]).mean(dim=0))
        torch.testing.assert_close(joined(window), wanted, atol=1e-6, rtol=0)
        assert not torch.allclose(joined(window), alone[0](window), atol=1e-3)
        paths = windows(1, joined.cells + 40)
        newest = torch.sigmoid(joined.dense(paths)[:, :, -1])
        torch.testing.assert_close(newest, joined(paths[:, :, -joined.cells :]), atol=1e-5, rtol=0)
    assert joined.judged(200) == MotionNet(SMALL).judged(200)


def test_what_was_joined_is_kept_and_exported_as_any_checkpoint(runs: list[Path], tmp_path: Path) -> None:
    joined, engine = tmp_path / "joined.pt", tmp_path / "joined.onnx"
    join(runs[:2]).save(joined)
    assert export(joined, engine) <= PARITY
    with OnnxScorer(InferSettings(model=str(engine))) as scorer:
        assert scorer.metadata.trained["seed"] == [3, 4]
        window = windows(1, scorer.clip.motion_shape[1])
        with torch.no_grad():
            wanted = network(Checkpoint.load(joined))(window).numpy()
        np.testing.assert_allclose(scorer.score({"motion": window.numpy()}), wanted, atol=PARITY)


def test_only_runs_that_differ_in_their_seeds_alone_are_joined(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(LivespotError, match="other settings or on other faces than"):
        join([runs[0], run(tmp_path, 7, steps=5)])
    with pytest.raises(LivespotError, match="the seeds are 3, 3: give at least two runs, of a seed each"):
        join([runs[0], runs[0]])
    with pytest.raises(LivespotError, match="the seeds are 3: give at least two"):
        join(runs[:1])
    with pytest.raises(LivespotError, match="no single network on motion"):
        join([runs[0], run(tmp_path, 8, network="yap2022")])
    twice = tmp_path / "twice.pt"
    join(runs[:2]).save(twice)
    with pytest.raises(LivespotError, match="no single network on motion"):
        join([twice, runs[2]])
