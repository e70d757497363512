"""What livespot costs, how still it holds a face, how far off its motion is and how well it spots, measured."""

from livespot.bench.alignment import known_path, plain_crop, residual_px, step_followed, wander_px
from livespot.bench.figures import errors_to_rich, measure, to_rich

__all__ = [
    "errors_to_rich",
    "known_path",
    "measure",
    "plain_crop",
    "residual_px",
    "step_followed",
    "to_rich",
    "wander_px",
]
