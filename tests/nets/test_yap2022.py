import pytest
import torch

from livespot.nets.yap2022 import CLIP, Block, Yap2022, Yap2022Settings

SMALL = Yap2022Settings(
    stem_filters=4, blocks=(Block(6, 8, 4), Block(8, 5, 2), Block(10, 5, 1)), dense=8, dense_dropout=0.0
)


def clips(count: int) -> torch.Tensor:
    return torch.randn(count, *CLIP.shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def net() -> Yap2022:
    torch.manual_seed(0)
    return Yap2022(SMALL)


def test_clips_become_two_probabilities_each(net: Yap2022) -> None:
    scores = net(clips(3))
    assert scores.shape == (3, 2)
    assert ((scores > 0) & (scores < 1)).all()


def test_every_parameter_gets_a_gradient_from_judging_and_measuring(net: Yap2022) -> None:
    features = net.measure(clips(4))
    loss = net.logits(features).square().sum() + net.displacement_px(features).square().sum()
    torch.autograd.backward(loss)
    without = [name for name, value in net.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0]
    assert without == []


def test_displacement_is_measured_for_each_stream_in_cells_of_8_px(net: Yap2022) -> None:
    assert net.displacement_px(net.measure(clips(3))).shape == (3, 2, 2, 14, 14)


def test_streams_share_weights_so_that_equal_pairs_are_measured_alike(net: Yap2022) -> None:
    pair = clips(1)[:, :1]
    motion = net.eval().displacement_px(net.measure(torch.cat((pair, pair), dim=1)))
    assert torch.equal(motion[:, 0], motion[:, 1])


def test_the_order_of_streams_matters_to_the_judgement(net: Yap2022) -> None:
    some = clips(1)
    assert not torch.allclose(net.eval()(some), net(some.flip(1)))


def test_a_clip_is_scored_alike_alone_and_in_a_batch(net: Yap2022) -> None:
    some = clips(4)
    assert torch.allclose(net.eval()(some)[2:3], net(some[2:3]), atol=1e-6)


def test_the_published_structure_stays_small() -> None:
    assert sum(value.numel() for value in Yap2022().parameters()) < 250_000
