"""A checkpoint becomes the network that it is of."""

from typing import Any

from pydantic import TypeAdapter

from livespot.errors import EngineError
from livespot.nets import PAIR_NETWORKS
from livespot.nets.checkpoint import Checkpoint
from livespot.nets.joint import Joint, JointSettings
from livespot.nets.light import Light
from livespot.nets.motion import MotionNet, MotionNetSettings
from livespot.nets.yap2022 import PairNetwork, Yap2022, Yap2022Settings
from livespot.records import ClipSpec


def network(kept: Checkpoint) -> PairNetwork | MotionNet | Joint:
    """The network of a checkpoint with its weights, ready to judge. Raises EngineError where they do not fit."""
    name = network_name(kept)
    net = _untrained(name, kept.settings, len(kept.seeds) or 1)
    try:
        net.load_state_dict(kept.weights)
    except RuntimeError as error:
        raise EngineError(f"the weights of the checkpoint are not those of {name}: {error}") from None
    return net.eval()


def _untrained(name: str, settings: dict[str, Any], members: int) -> PairNetwork | MotionNet | Joint:
    if name == "motion":
        return MotionNet(MotionNetSettings(**settings["net"]), members)
    if name == "joint":
        streams = settings["streams"]
        motion = MotionNet(MotionNetSettings(**streams["motion_net"]), streams["members"])
        return Joint(Light(), motion, JointSettings(**settings["net"]))
    if "distances" in settings:  # of a labelled dataset, at whose frame rate references are counted
        distances = settings["distances"]
        clip = ClipSpec(tuple(back / distances["fps"] for back in distances["test"]))
        return Yap2022(TypeAdapter(Yap2022Settings).validate_python(settings["net"]), clip)
    return PAIR_NETWORKS[name]()


def network_name(kept: Checkpoint) -> str:
    """Runs of before there were several trained the first."""
    return str(kept.settings.get("network", "yap2022"))
