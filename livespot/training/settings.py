"""What a training run can be told. The reasons stand beside the values in configs/train."""

from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from livespot.config import load
from livespot.errors import SettingsError
from livespot.nets.motion import MotionNetSettings
from livespot.records import MAX_FPS

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Network = Literal["yap2022", "motion"]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TrainSettings(_Settings):
    """Training of the two-stream 3D-CNN on warped portraits."""

    network: Literal["yap2022"] = "yap2022"
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
    livelier: tuple[Positive, Positive]
    silenced: Share
    unlabelled_weight: Share


class MotionTrainSettings(_Settings):
    """Training of the network on regional motion."""

    network: Literal["motion"]
    seed: int = Field(ge=0)
    validation_faces: Annotated[int, Field(ge=2)]
    net: MotionNetSettings
    recordings: RecordingSettings
    pasting: PastingSettings
    sequences_per_step: Count
    judged_s: Positive
    steps: Count
    warmup_steps: Count
    learning_rate: Positive
    weight_decay: NotNegative
    gradient_norm: Positive
    positive_weight: tuple[Positive, Positive]
    validate_every: Count
    patience: Count
    checkpoint_every_s: Positive


SomeSettings = TypeVar("SomeSettings", TrainSettings, MotionTrainSettings)


def network_of(path: Path) -> Network:
    """Which network the settings of a YAML file train. Raises SettingsError naming those that there are."""
    name = load(path).get("network", "yap2022")
    if name == "motion":
        return "motion"
    if name == "yap2022":
        return "yap2022"
    raise SettingsError(f"{path}: network is {name!r}; expected motion or yap2022")


def load_train_settings(path: Path, of: type[SomeSettings]) -> SomeSettings:
    """Validated settings of a YAML file. Raises SettingsError naming file, key and reason."""
    try:
        return of.model_validate(load(path))
    except ValidationError as error:
        problems = [f"{path}: {'.'.join(map(str, p['loc']))}: {p['msg']}, got {p['input']!r}" for p in error.errors()]
        raise SettingsError("\n".join(problems)) from None
