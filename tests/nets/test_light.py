import pytest
import torch

from livespot.nets.light import CLIP, Light, LightSettings
from livespot.nets.yap2022 import Block

SMALL = LightSettings(stem_filters=4, blocks=(Block(6, 8, 4), Block(8, 5, 2), Block(10, 5, 1)), joined=6, dense=8)


def clips(count: int) -> torch.Tensor:
    return torch.randn(count, *CLIP.shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def net() -> Light:
    torch.manual_seed(0)
    return Light(SMALL)


def test_clips_become_two_probabilities_each(net: Light) -> None:
    scores = net(clips(3))
    assert scores.shape == (3, 2)
    assert ((scores > 0) & (scores < 1)).all()


def test_every_parameter_gets_a_gradient_from_judging_and_measuring(net: Light) -> None:
    features = net.measure(clips(4))
    loss = net.logits(features).square().sum() + net.displacement_px(features).square().sum()
    torch.autograd.backward(loss)
    without = [name for name, value in net.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0]
    assert without == []


def test_displacement_is_measured_for_each_pair_in_cells_of_8_px(net: Light) -> None:
    assert net.displacement_px(net.measure(clips(3))).shape == (3, 5, 2, 14, 14)


def test_equal_pairs_are_measured_alike_and_told_apart_by_their_distance(net: Light) -> None:
    some = clips(1)
    motion = net.eval().displacement_px(net.measure(some[:, :1].expand(-1, 5, -1, -1, -1)))
    assert torch.allclose(motion[:, 0], motion[:, 4], atol=1e-6)
    assert not torch.allclose(net(some), net(some.flip(1)))


def test_a_clip_is_scored_alike_alone_and_in_a_batch(net: Light) -> None:
    some = clips(4)
    assert torch.allclose(net.eval()(some)[2:3], net(some[2:3]), atol=1e-6)


def test_it_judges_a_moment_that_its_references_enclose() -> None:
    assert min(CLIP.references_s) < CLIP.lookahead_s < max(CLIP.references_s)


def test_it_is_light() -> None:
    assert sum(value.numel() for value in Light().parameters()) < 250_000
