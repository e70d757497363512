"""The network on motion says of every moment of a path what it says of the window that ends there, and sees no more."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from livespot.buffer import ClipBuffer
from livespot.motion.window import MotionWindow
from livespot.nets.motion import DISPLACEMENTS, NOISES, MotionNet, MotionNetSettings
from livespot.records import MOTION_CHANNELS, MOTION_HZ, Clip, Face, Motion

SMALL = MotionNetSettings(levels=4, taps=5, filters=3, width=6, dilations=(4, 8), dropout=0.2)
NOISE = slice(DISPLACEMENTS, DISPLACEMENTS + NOISES)


def paths(length: int, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    made = 0.01 * torch.randn(count, MOTION_CHANNELS, length, generator=generator)
    made[:, NOISE] = made[:, NOISE].abs()
    return made


@pytest.fixture
def net() -> MotionNet:
    torch.manual_seed(0)
    return MotionNet(SMALL)


def clips(spec_of: MotionNet, fps: float, seconds: float) -> Iterator[Clip]:
    """What the pipeline cuts of a face whose every displacement is the time."""
    window, buffer = MotionWindow(spec_of.clip), ClipBuffer(spec_of.clip)
    for index in range(round(seconds * fps)):
        t_s = index / fps
        face = Face(
            np.zeros((112, 112), np.uint8), np.zeros((468, 2), np.float32), np.eye(2, 3), 0, "cam", index, t_s, t_s
        )
        still = np.zeros(NOISES, np.float32)
        moved = np.full((NOISES, 2), t_s, np.float32)
        motion = Motion(moved, still, still, np.zeros(6, np.float32), 0, "cam", index, t_s, t_s)
        yield from buffer.push(face, motion=window.push(motion))


@pytest.mark.parametrize("settings", [SMALL, replace(SMALL, dilations=(2, 4, 8)), MotionNetSettings()])
def test_a_long_path_is_judged_as_its_windows_are(settings: MotionNetSettings) -> None:
    torch.manual_seed(1)
    net = MotionNet(settings).eval()
    path = paths(net.cells + 7)
    dense = torch.sigmoid(net.dense(path))
    assert dense.shape == (2, 2, 8)
    for end in (0, 7):
        torch.testing.assert_close(net(path[:, :, end : end + net.cells]), dense[:, :, end], atol=1e-5, rtol=0)


def test_where_skin_rests_changes_nothing(net: MotionNet) -> None:
    window = paths(net.eval().cells)
    moved = window + torch.where(torch.arange(MOTION_CHANNELS) < DISPLACEMENTS, 0.05, 0.0)[:, None]
    torch.testing.assert_close(net(moved), net(window), atol=1e-5, rtol=0)
    drifting = window + torch.linspace(0, 0.05, net.cells) * (torch.arange(MOTION_CHANNELS) < DISPLACEMENTS)[:, None]
    assert not torch.allclose(net(drifting), net(window), atol=1e-3)


def test_every_parameter_gets_a_gradient(net: MotionNet) -> None:
    torch.autograd.backward(net.dense(paths(net.cells + 20)).square().sum())
    without = [name for name, value in net.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0]
    assert without == []


def test_what_comes_after_the_window_changes_nothing_and_all_that_is_in_it_may(net: MotionNet) -> None:
    path = paths(net.eval().cells + 5, 1)
    later, earliest = path.clone(), path.clone()
    later[:, :, net.cells + 2 :] = 0.3
    earliest[:, :DISPLACEMENTS, 0] += 0.3
    told, after, first = (net.dense(one)[0].T for one in (path, later, earliest))
    assert torch.equal(told[:3], after[:3]) and not torch.isclose(told[3:], after[3:]).any()
    assert not torch.allclose(told[0], first[0]) and torch.equal(told[1:], first[1:])


@pytest.mark.parametrize("fps", [25.0, 30.0, 200.0])
@pytest.mark.parametrize("lookahead_s", [0.2, 0.4])
def test_the_judged_cell_is_where_the_judged_frame_is(fps: float, lookahead_s: float) -> None:
    net = MotionNet(replace(SMALL, lookahead_s=lookahead_s))
    cell = net.judged(net.cells).start
    *_, settled = clips(net, fps, net.cells / MOTION_HZ + 1.0)
    middle_s = settled.inputs["motion"][0, cell]
    assert abs(middle_s - settled.t_s) <= 0.5 / MOTION_HZ + 1e-4


def test_there_is_one_judged_cell_for_every_window(net: MotionNet) -> None:
    path = paths(net.cells + 30, 1)
    assert len(range(path.shape[-1])[net.judged(path.shape[-1])]) == net.dense(path).shape[-1]


def test_without_look_ahead_the_newest_cell_is_judged() -> None:
    net = MotionNet(replace(SMALL, lookahead_s=0.0))
    assert net.judged(net.cells) == slice(net.cells - 1, net.cells)


def test_errors_that_are_told_as_nothing_or_less_are_no_trouble(net: MotionNet) -> None:
    window = paths(net.eval().cells)
    window[:, NOISE] = torch.tensor([0.0, -0.1])[:, None, None]
    assert torch.isfinite(net(window)).all()


def test_it_says_what_it_is_fed_and_stays_small() -> None:
    net = MotionNet()
    assert net.clip.shapes == {"motion": (MOTION_CHANNELS, net.cells)}
    assert net.clip.lookahead_s == 0.4
    assert sum(value.numel() for value in net.parameters()) < 250_000
