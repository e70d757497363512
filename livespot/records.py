"""The values that stages hand to each other: one frozen record per boundary, checked when made.

Times are seconds, frames are 0-based indices of the source. Intervals are half-open: an event covers
[onset, offset); `tables` turns them into the field's inclusive frames where they leave livespot.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

CROP_PX = 112
"""Side of the aligned face crop, as in Yap 2022."""

MAX_FPS = 240.0
"""Frames a second of the fastest source: so many patches of a face are kept as its farthest reference needs."""

MAX_PAUSE_S = 0.5
"""After a longer pause between its frames a face is watched anew: a line drawn across it would be invented."""

LANDMARKS = 468
"""Points of the MediaPipe face mesh."""

MOTION_HZ = 50.0
"""Regional motion over time is told as means over cells of this rate, whatever the frame rate."""
MOTION_CHANNELS = 85
"""Of each cell: displacement x and y of each region in turn (52, IOD), standard error of each region (26, IOD), the
head (6, as in `Motion`), and how unlike their reference the upper lids are (1). Regions as `motion.regions.REGIONS`."""

ExpressionType: TypeAlias = Literal["micro", "macro"]
EXPRESSION_TYPES: tuple[ExpressionType, ExpressionType] = ("micro", "macro")
Phase: TypeAlias = Literal["open", "update", "close"]
GapReason: TypeAlias = Literal["frames_lost", "frames_dropped", "face_lost", "reconnect", "clock_jump", "not_scored"]
State: TypeAlias = Literal["connecting", "running", "stalled", "waiting", "ended"]


def _check(name: str, array: NDArray[np.generic], shape: tuple[int | None, ...], dtype: type[np.generic]) -> None:
    fits = array.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, array.shape, strict=True))
    if not fits or array.dtype != dtype:
        wanted = tuple("any" if side is None else side for side in shape)
        raise ValueError(f"{name} is {array.dtype}{array.shape}; expected {np.dtype(dtype)}{wanted}".replace("'", ""))


class ShapesInRepr:
    """`repr` shows the shape of an array, never its pixels: frames of faces must not end up in logs."""

    def __repr__(self) -> str:
        named = (f"{field.name}={_shown(getattr(self, field.name))}" for field in fields(self))  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(named)})"


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_shown(one)}" for key, one in value.items()) + "}"
    return f"{value.dtype}{value.shape}" if isinstance(value, np.ndarray) else repr(value)


@dataclass(frozen=True, repr=False, eq=False)
class Frame(ShapesInRepr):
    """One picture of a source."""

    image: NDArray[np.uint8]
    """uint8 (H, W, 3), BGR."""
    source: str
    """Name of the source: letters, digits, '_' and '-'."""
    index: int
    """0-based; jumps where frames were lost."""
    t_s: float
    """Stream time from the source's own timestamps; strictly increasing within a source."""
    arrival_s: float
    """`time.monotonic()` at which the frame was in our hands."""
    epoch: int = 0
    """+1 at each reconnect."""

    def __post_init__(self) -> None:
        _check("Frame.image", self.image, (None, None, 3), np.uint8)


@dataclass(frozen=True, repr=False, eq=False)
class Face(ShapesInRepr):
    """One aligned face of one frame."""

    crop: NDArray[np.uint8]
    """uint8 (112, 112), grey."""
    landmarks: NDArray[np.float32]
    """float32 (468, 2), pixels of the frame: the MediaPipe mesh, carried by the transform between its detections."""
    transform: NDArray[np.float64]
    """float64 (2, 3): similarity from the frame's pixels to the crop's."""
    face: int
    """Stable while the face is tracked; never used again within a source."""
    source: str
    index: int
    t_s: float
    arrival_s: float

    def __post_init__(self) -> None:
        _check("Face.crop", self.crop, (CROP_PX, CROP_PX), np.uint8)
        _check("Face.landmarks", self.landmarks, (LANDMARKS, 2), np.float32)
        _check("Face.transform", self.transform, (2, 3), np.float64)


@dataclass(frozen=True)
class ClipSpec:
    """What a network asks for: pairs of frames, regional motion over a window, or both; and which moment it judges."""

    references_s: tuple[float, ...] = (0.2, 0.8)
    """A pair (reference, newest) for each of these distances into the past; none where it is empty. The default is
    k_micro and k_macro of Yap 2022."""
    motion_s: float = 0.0
    """Length of the window of regional motion that ends with the newest frame; 0 for none."""
    lookahead_s: float = 0.0
    """How long before the newest frame the judged moment lies."""

    def __post_init__(self) -> None:
        if any(not 0 < reference_s < math.inf for reference_s in self.references_s):
            raise ValueError(f"ClipSpec.references_s is {self.references_s}; expected distances above 0 s")
        if self.motion_s and not 1 / MOTION_HZ <= self.motion_s < math.inf:
            raise ValueError(f"ClipSpec.motion_s is {self.motion_s}; expected 0, or at least {1 / MOTION_HZ} s")
        if not 0 <= self.lookahead_s < math.inf:
            raise ValueError(f"ClipSpec.lookahead_s is {self.lookahead_s}; expected 0 s or more")
        if not (self.references_s or self.motion_s):
            raise ValueError("ClipSpec has neither references_s nor motion_s; expected at least one of them")

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(streams, frames, height, width) of the pairs of one clip."""
        return (len(self.references_s), 2, CROP_PX, CROP_PX)

    @property
    def motion_shape(self) -> tuple[int, int]:
        """(channels, cells) of the motion of one clip: so many whole cells as come nearest to `motion_s`."""
        return (MOTION_CHANNELS, round(self.motion_s * MOTION_HZ))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each input that is asked for, by its name: "clips", "motion" or both."""
        shapes: dict[str, tuple[int, ...]] = {}
        if self.references_s:
            shapes["clips"] = self.shape
        if self.motion_s:
            shapes["motion"] = self.motion_shape
        return shapes


@dataclass(frozen=True)
class Calibration:
    """How the scores of one network become events: found on validation data and stored with its weights."""

    cutoff_hz: float
    """Cut-off of the causal low-pass."""
    micro_threshold: float
    """[0, 1]: an event opens when the smoothed score reaches it."""
    macro_threshold: float


@dataclass(frozen=True, repr=False, eq=False)
class Clip(ShapesInRepr):
    """The input of the network for one face at one time."""

    inputs: Mapping[str, NDArray[np.float32]]
    """What the network's `ClipSpec` asks for. "clips": float32 (streams, 2, 112, 112), normalised patches (reference,
    newest) of each stream. "motion": float32 (channels, cells), the regional motion that ends with the newest frame."""
    face: int
    source: str
    index: int
    """Of the judged frame."""
    t_s: float
    """Of the judged frame."""
    arrival_s: float
    """Of the newest frame."""
    lookahead_s: float = 0.0
    """Stream time from the judged to the newest frame."""

    def __post_init__(self) -> None:
        if not self.inputs or not set(self.inputs) <= {"clips", "motion"}:
            raise ValueError(f"Clip.inputs are {', '.join(self.inputs) or 'none'}; expected clips, motion or both")
        for name, array in self.inputs.items():
            shape = (None, 2, CROP_PX, CROP_PX) if name == "clips" else (MOTION_CHANNELS, None)
            _check(f"Clip.inputs[{name}]", array, shape, np.float32)


@dataclass(frozen=True, repr=False, eq=False)
class Motion(ShapesInRepr):
    """How the skin of one face has moved against the rigid face since a reference, region by region."""

    displacement_iod: NDArray[np.float32]
    """float32 (regions, 2): x along the eyes, y down, in inter-ocular distances; rows as `motion.regions.REGIONS`."""
    noise_iod: NDArray[np.float32]
    """float32 (regions,): standard error of each displacement's coordinates."""
    unlike: NDArray[np.float32]
    """float32 (regions,), [0, 1]: share of a region's contrast that its reference does not have: how hidden it is."""
    head: NDArray[np.float32]
    """float32 (6,): shift x, y in IOD, logarithm of growth, roll, yaw, pitch in radians since the reference."""
    face: int
    source: str
    index: int
    t_s: float
    arrival_s: float

    def __post_init__(self) -> None:
        regions = len(self.displacement_iod)
        _check("Motion.displacement_iod", self.displacement_iod, (None, 2), np.float32)
        _check("Motion.noise_iod", self.noise_iod, (regions,), np.float32)
        _check("Motion.unlike", self.unlike, (regions,), np.float32)
        _check("Motion.head", self.head, (6,), np.float32)


@dataclass(frozen=True)
class Scores:
    """How likely each class is for one face at one time, [0, 1]; both may be high.

    A network gives probabilities, motion its strength s as s / (s + threshold)."""

    micro: float
    macro: float
    face: int
    source: str
    index: int
    t_s: float
    arrival_s: float
    """Of the frame that decided."""
    lookahead_s: float = 0.0
    """Stream time from these scores to the frame that decided them."""

    @property
    def decided_s(self) -> float:
        """Stream time of the frame that decided."""
        return self.t_s + self.lookahead_s

    def __post_init__(self) -> None:
        if not (0.0 <= self.micro <= 1.0 and 0.0 <= self.macro <= 1.0):
            raise ValueError(f"Scores are micro {self.micro}, macro {self.macro}; expected probabilities in [0, 1]")


@dataclass(frozen=True)
class Event:
    """One expression of one face, told in phases: one open, any number of updates, one close, all with the same id."""

    id: str
    phase: Phase
    type: ExpressionType
    """What the expression is so far; final when closed, as all else that is told of it."""
    source: str
    face: int
    onset_s: float
    onset_frame: int
    apex_s: float
    """The peak so far."""
    apex_frame: int
    offset_s: float | None
    """End of the half-open interval; None while open."""
    offset_frame: int | None
    confidence: float
    """Highest score so far, [0, 1]; above its threshold."""
    decided_s: float
    """Stream time of the frame that decided this phase."""
    arrival_s: float
    """Monotonic arrival of that frame."""
    truncated: bool = False
    """Closed by a gap, the end of the stream or the longest duration, not by the face."""
    regions: tuple[str, ...] = ()
    """Places that moved so far, such as brow_left, strongest first; empty where the method does not tell."""

    def __post_init__(self) -> None:
        if (self.offset_s is None) != (self.offset_frame is None) or (self.offset_s is None) == (self.phase == "close"):
            raise ValueError(
                f"Event {self.id} in phase {self.phase} has offset {self.offset_s} s; only a close has one"
            )
        if self.offset_s is not None and not self.onset_s <= self.apex_s <= self.offset_s:
            raise ValueError(
                f"Event {self.id}: onset {self.onset_s}, apex {self.apex_s}, offset {self.offset_s} s are not in order"
            )
        if not isinstance(self.regions, tuple) or not all(isinstance(name, str) for name in self.regions):
            raise ValueError(f"Event {self.id} has regions {self.regions!r}; expected a tuple of names")

    @property
    def last_frame(self) -> int | None:
        """The offset as the field writes it, inclusive: the last frame of the expression; None while open."""
        return None if self.offset_frame is None else max(self.offset_frame - 1, self.apex_frame)

    @property
    def latency_s(self) -> float:
        """Stream time between what this phase tells and the frame that decided it."""
        told_s = {"open": self.onset_s, "update": self.apex_s, "close": self.offset_s}[self.phase]
        assert told_s is not None
        return self.decided_s - told_s


@dataclass(frozen=True)
class Gap:
    """A stretch of stream time that was not watched."""

    source: str
    from_s: float
    to_s: float
    reason: GapReason
    face: int | None = None
    """The face that was lost; None where the whole source was."""
    frames: int | None = None
    """Frames that did not arrive, where that is known."""

    def __post_init__(self) -> None:
        if self.to_s < self.from_s:
            raise ValueError(f"Gap from {self.from_s} s to {self.to_s} s; expected from <= to")


@dataclass(frozen=True)
class Status:
    """What a source is doing."""

    source: str
    state: State
    t_s: float
    detail: str = ""
    reconnects: int = 0
    """How often the source came back since the start."""
    stalls: int = 0
    """How often it was silent while it was connected."""
    reconnects_per_hour: int = 0
    stalls_per_hour: int = 0
    """The same, in the last hour."""
