import pytest
import torch

from livespot.nets.joint import MOST, Joint, JointSettings
from livespot.nets.light import Light, LightSettings
from livespot.nets.motion import MotionNet, MotionNetSettings
from livespot.nets.yap2022 import Block

LIGHT = LightSettings(stem_filters=4, blocks=(Block(6, 8, 4), Block(8, 5, 2), Block(10, 5, 1)), joined=6, dense=8)
MOTION = MotionNetSettings(levels=4, taps=5, filters=3, width=8, dilations=(4, 8), dropout=0.2)


@pytest.fixture(params=[1, 2], ids=["one network on motion", "two that were joined"])
def net(request: pytest.FixtureRequest) -> Joint:
    torch.manual_seed(0)
    return Joint(Light(LIGHT), MotionNet(MOTION, request.param), JointSettings(hidden=6))


def inputs(net: Joint, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    clips, motion = (torch.randn(count, *shape, generator=random) for shape in net.clip.shapes.values())
    return clips, 0.01 * motion


def taught(net: Joint) -> Joint:
    """With something to add to motion's judgement."""
    torch.nn.init.normal_(net.judge.weight)
    return net


def test_clips_and_motion_become_two_probabilities_each(net: Joint) -> None:
    scores = net(*inputs(net, 3))
    assert scores.shape == (3, 2)
    assert ((scores > 0) & (scores < 1)).all()


def test_it_is_fed_what_both_streams_are_fed(net: Joint) -> None:
    assert net.clip.references_s == net.light.clip.references_s
    assert net.clip.motion_shape == net.motion.clip.motion_shape
    assert net.clip.lookahead_s == net.light.clip.lookahead_s == net.motion.clip.lookahead_s


def test_before_anything_is_learnt_it_judges_as_motion_does(net: Joint) -> None:
    clips, motion = inputs(net.eval(), 3)
    assert torch.equal(net(clips, motion), net.motion(motion))


def test_what_is_learnt_looks_at_both(net: Joint) -> None:
    clips, motion = inputs(taught(net).eval(), 3)
    judged = net(clips, motion)
    assert not torch.allclose(judged, net(clips.flip(0), motion))
    assert not torch.allclose(judged, net(clips, motion.flip(0)))


def test_only_what_joins_the_streams_learns_and_all_of_it_does(net: Joint) -> None:
    torch.autograd.backward(taught(net)(*inputs(net, 4)).square().sum())
    with_gradient = {
        name for name, value in net.named_parameters() if value.grad is not None and value.grad.abs().sum()
    }
    assert with_gradient == {"hidden.weight", "hidden.bias", "judge.weight", "judge.bias"}


def test_the_streams_stay_as_they_are_while_it_learns(net: Joint) -> None:
    before = {name: value.clone() for name, value in net.light.state_dict().items()}
    net(*inputs(net, 4))
    assert all(torch.equal(before[name], value) for name, value in net.light.state_dict().items())
    assert not (net.light.training or net.motion.training)


def test_a_number_that_never_varied_in_training_cannot_outshout_the_others(net: Joint) -> None:
    taught(net).eval()
    net.standardise.running_var.zero_()  # type: ignore[union-attr]
    embedding = torch.zeros(2, net.width)
    embedding[1, 0] = 10.0
    heard = net.hidden(torch.full((1, net.width), MOST)).abs().max()
    assert (net.logits(embedding)[1] - net.logits(embedding)[0]).abs().max() <= 2 * heard * net.judge.weight.abs().sum()


def test_a_clip_is_scored_alike_alone_and_in_a_batch(net: Joint) -> None:
    clips, motion = inputs(taught(net).eval(), 4)
    assert torch.allclose(net(clips, motion)[2:3], net(clips[2:3], motion[2:3]), atol=1e-6)


def test_streams_that_judge_different_moments_are_refused() -> None:
    sooner = MotionNet(MotionNetSettings(levels=4, taps=5, filters=3, width=8, dilations=(4, 8), lookahead_s=0.2))
    with pytest.raises(ValueError, match=r"look ahead 0\.4 and 0\.2 s; expected both alike"):
        Joint(Light(LIGHT), sooner)
