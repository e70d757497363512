"""What a training run can be told. The reasons stand beside the values in configs/train."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from livespot.config import load
from livespot.errors import SettingsError

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]


class TrainSettings(BaseModel):
    """Training of the two-stream 3D-CNN on warped portraits."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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


def load_train_settings(path: Path) -> TrainSettings:
    """Validated settings of a YAML file. Raises SettingsError naming file, key and reason."""
    try:
        return TrainSettings.model_validate(load(path))
    except ValidationError as error:
        problems = [f"{path}: {'.'.join(map(str, p['loc']))}: {p['msg']}, got {p['input']!r}" for p in error.errors()]
        raise SettingsError("\n".join(problems)) from None
