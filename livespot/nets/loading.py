"""A checkpoint becomes the network that it is of."""

from livespot.errors import EngineError
from livespot.nets import PAIR_NETWORKS
from livespot.nets.checkpoint import Checkpoint
from livespot.nets.motion import MotionNet, MotionNetSettings
from livespot.nets.yap2022 import PairNetwork


def network(kept: Checkpoint) -> PairNetwork | MotionNet:
    """The network of a checkpoint with its weights, ready to judge. Raises EngineError where they do not fit."""
    name = network_name(kept)
    net = MotionNet(MotionNetSettings(**kept.settings["net"])) if name == "motion" else PAIR_NETWORKS[name]()
    try:
        net.load_state_dict(kept.weights)
    except RuntimeError as error:
        raise EngineError(f"the weights of the checkpoint are not those of {name}: {error}") from None
    return net.eval()


def network_name(kept: Checkpoint) -> str:
    """Runs of before there were several trained the first."""
    return str(kept.settings.get("network", "yap2022"))
