"""What a training run can be told. The reasons stand beside the values in configs/train."""

from pathlib import Path
from typing import Annotated, Literal, TypeVar, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from livespot.config import DecodeSettings, load
from livespot.errors import SettingsError
from livespot.nets.joint import JointSettings
from livespot.nets.motion import MotionNetSettings
from livespot.nets.yap2022 import Yap2022Settings
from livespot.records import MAX_FPS, MAX_PAUSE_S, ClipSpec

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Network = Literal["yap2022", "light", "motion", "joint"]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TrainSettings(_Settings):
    """Training of a two-stream 3D-CNN on warped portraits."""

    network: Literal["yap2022", "light"] = "yap2022"
    seed: int = Field(ge=0)
    validation_faces: Count
    samples_per_step: Count
    steps: Count
    warmup_steps: Count
    learning_rate: Positive
    weight_decay: NotNegative
    gradient_norm: Positive
    class_weights: tuple[Positive, Positive]
    positive_weight: Positive
    visible_iod: NotNegative
    invisible_weight: NotNegative
    motion_weight: NotNegative
    motion_knee_px: Positive
    validate_every: Count
    checkpoint_every_s: Positive


class RecordingSettings(_Settings):
    """What is performed and recorded."""

    faces: Count
    unseen_faces: Count
    seconds: Positive
    fps: tuple[Annotated[float, Field(gt=0, le=MAX_FPS)], ...] = Field(min_length=1)
    most_frames: Count


class PastingSettings(_Settings):
    """How expressions are pasted into recorded motion."""

    expressive: NotNegative
    neutral: NotNegative
    clip: NotNegative
    into_expressive: Share
    pauses: tuple[Positive, Positive]
    gain: Positive
    gain_spread: NotNegative
    taken_for_head: Share
    mixed: Share
    mixed_share: tuple[Positive, Positive]
    mirrored: Share
    noisy: Share
    noise: tuple[Positive, Positive]
    told_noise: tuple[Positive, Positive]
    livelier: tuple[Positive, Positive]
    silenced: Share
    unlabelled_weight: Share


class LearningSettings(_Settings):
    """How a network learns whose best step is the one that spots most."""

    seed: int = Field(ge=0)
    steps: Count
    warmup_steps: Count
    learning_rate: Positive
    weight_decay: NotNegative
    gradient_norm: Positive
    positive_weight: tuple[Positive, Positive]
    validate_every: Count
    patience: Count
    checkpoint_every_s: Positive


class MotionTrainSettings(LearningSettings):
    """Training of the network on regional motion."""

    network: Literal["motion"]
    validation_faces: Annotated[int, Field(ge=2)]
    net: MotionNetSettings
    recordings: RecordingSettings
    pasting: PastingSettings
    sequences_per_step: Count
    judged_s: Positive


class JointTrainSettings(LearningSettings):
    """Training of what joins a light network and one on motion."""

    network: Literal["joint"]
    light: str
    motion: str
    """Paths of their checkpoints."""
    net: JointSettings
    faces: Count
    samples_per_step: Annotated[int, Field(ge=2)]

    @property
    def checkpoints(self) -> tuple[Path, Path]:
        """Of the light network and of the one on motion."""
        return Path(self.light), Path(self.motion)


class StreamsSettings(_Settings):
    """What the checkpoints of both streams told: enough to build the joint network without them."""

    digest: str
    """Of both files."""
    light_trained: dict[str, str | int]
    motion_trained: dict[str, str | int | list[int]]
    """Commit, step and seeds of each."""
    motion_net: MotionNetSettings
    members: Count
    recordings: RecordingSettings
    """Of the training on motion, whose unseen faces perform the same here."""


class JointRunSettings(JointTrainSettings):
    """With what its streams are."""

    streams: StreamsSettings


class SeenSettings(RecordingSettings):
    """What is performed, and by which streams it is seen."""

    digest: str


class DistanceSettings(_Settings):
    """How far the references of both streams lie in the past, in frames of `fps`; inside everything is seconds."""

    fps: Positive
    micro: tuple[Positive, Positive]
    macro: tuple[Positive, Positive]
    """Ranges that training draws from."""
    test: tuple[Positive, Positive]

    @property
    def ranges_s(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Of micro and macro."""
        (micro_least, micro_most), (macro_least, macro_most) = self.micro, self.macro
        return (micro_least / self.fps, micro_most / self.fps), (macro_least / self.fps, macro_most / self.fps)

    @property
    def clip(self) -> ClipSpec:
        """What the network is shown when it is tested."""
        micro, macro = self.test
        return ClipSpec((micro / self.fps, macro / self.fps))


class SamplingSettings(_Settings):
    """Which moments are learnt from."""

    per_step: Annotated[int, Field(ge=2)]
    micro: Share
    macro: Share
    """Of the samples that show one; what is left shows neither."""

    @model_validator(mode="after")
    def _leave_room(self) -> "SamplingSettings":
        if self.micro + self.macro > 1:
            raise ValueError(f"micro and macro are {self.micro} and {self.macro}; expected at most 1 together")
        return self


class AugmentationSettings(_Settings):
    """What is done to the frames of a sample, to all of them alike."""

    contrast: tuple[Positive, Positive]
    gamma: tuple[Positive, Positive]
    gain: tuple[Positive, Positive]
    mirrored: Share
    rotation_deg: NotNegative


class SpottingSettings(_Settings):
    """From scores to expressions."""

    judged_per_s: Positive
    scores: Literal["normalised", "raw"]
    threshold: Literal["roc", "moilanen"]
    cutoff_hz: Annotated[float, Field(gt=0, lt=100)]
    hysteresis: Annotated[float, Field(gt=0, le=1)]
    min_s: Positive
    max_s: Positive
    merge_s: NotNegative

    @model_validator(mode="after")
    def _suit_the_decoder(self) -> "SpottingSettings":
        assert self.decode, "its settings are checked as they are made"
        if self.judged_per_s <= 1 / MAX_PAUSE_S:
            raise ValueError(
                f"judged_per_s is {self.judged_per_s:g}; expected more than {1 / MAX_PAUSE_S:g}: after a pause of "
                f"{MAX_PAUSE_S:g} s between scores a face is watched anew, and nothing is spotted"
            )
        return self

    @property
    def decode(self) -> DecodeSettings:
        """The decoder's, without thresholds: they are never set by hand."""
        return DecodeSettings(
            cutoff_hz=self.cutoff_hz,
            hysteresis=self.hysteresis,
            min_s=self.min_s,
            max_s=self.max_s,
            merge_s=self.merge_s,
        )


class DatasetTrainSettings(_Settings):
    """Training of the two-stream 3D-CNN on a labelled dataset, of which each part is left out once."""

    network: Literal["yap2022"]
    seed: int = Field(ge=0)
    database: Literal["samm-lv", "casme2"] | None = None
    split: Literal["subject", "video"]
    folds: Annotated[int, Field(ge=2)] | None = None
    inner_folds: Annotated[int, Field(ge=2)]
    net: Yap2022Settings
    distances: DistanceSettings
    sampling: SamplingSettings
    augmentation: AugmentationSettings
    class_weights: tuple[Positive, Positive]
    positive_weight: Positive
    epochs: Count
    steps_per_epoch: Count
    warmup_steps: Count
    learning_rate: Positive
    weight_decay: NotNegative
    gradient_norm: Positive
    spotting: SpottingSettings
    checkpoint_every_s: Positive

    @property
    def steps(self) -> int:
        """Of all epochs."""
        return self.epochs * self.steps_per_epoch


SomeSettings = TypeVar("SomeSettings", TrainSettings, MotionTrainSettings, JointTrainSettings, DatasetTrainSettings)


def network_of(path: Path) -> Network:
    """Which network the settings of a YAML file train. Raises SettingsError naming those that there are."""
    name = load(path).get("network", "yap2022")
    for network in get_args(Network):
        if name == network:
            return cast(Network, network)
    raise SettingsError(f"{path}: network is {name!r}; expected one of {', '.join(get_args(Network))}")


def is_of_dataset(path: Path) -> bool:
    """Whether the settings of a YAML file train on a labelled dataset, part by part."""
    return "split" in load(path)


def load_train_settings(path: Path, of: type[SomeSettings]) -> SomeSettings:
    """Validated settings of a YAML file. Raises SettingsError naming file, key and reason."""
    try:
        return of.model_validate(load(path))
    except ValidationError as error:
        problems = [f"{path}: {'.'.join(map(str, p['loc']))}: {p['msg']}, got {p['input']!r}" for p in error.errors()]
        raise SettingsError("\n".join(problems)) from None
