"""What an engine file says about itself: a JSON object in its metadata, under the key "livespot"."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from livespot.errors import EngineError
from livespot.records import Calibration, ClipSpec

KEY = "livespot"

_Share = Annotated[float, Field(ge=0, le=1)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _ClipContent(BaseModel):
    references_s: tuple[_Positive, ...]
    motion_s: _NotNegative = 0.0
    lookahead_s: _NotNegative = 0.0

    @model_validator(mode="after")
    def _is_a_clip(self) -> "_ClipContent":
        ClipSpec(**self.model_dump())
        return self


class _CalibrationContent(BaseModel):
    cutoff_hz: _Positive
    micro_threshold: _Share
    macro_threshold: _Share


class _Content(BaseModel):
    format: Literal[1]
    name: str = Field(min_length=1)
    clip: _ClipContent
    calibration: _CalibrationContent
    trained: dict[str, Any]


@dataclass(frozen=True)
class EngineMetadata:
    """One network: what it is called, what it is fed and how its scores become events."""

    name: str
    clip: ClipSpec
    calibration: Calibration
    trained: dict[str, Any]
    """Data, settings and validation figures of the training, for people to read."""

    def to_json(self) -> str:
        """The text to store under `KEY`."""
        return _Content.model_validate({"format": 1, **asdict(self)}).model_dump_json()

    @classmethod
    def from_json(cls, text: str, origin: str) -> "EngineMetadata":
        """Read what `to_json` wrote. `origin` names the file in a message. Raises EngineError."""
        try:
            content = _Content.model_validate_json(text)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(str(part) for part in problem["loc"]) or "all of it"
            raise EngineError(
                f"{origin} carries livespot metadata this version cannot read: {where}: {problem['msg']}; "
                "export the network again with this version"
            ) from None
        return cls(
            content.name,
            ClipSpec(**content.clip.model_dump()),
            Calibration(**content.calibration.model_dump()),
            content.trained,
        )


class Described:
    """What a scorer tells of itself by the metadata of its engine, which it has while it is open."""

    _metadata: EngineMetadata | None = None

    @property
    def metadata(self) -> EngineMetadata:
        """What the engine says about itself."""
        if self._metadata is None:
            raise RuntimeError(f"{type(self).__name__} is not open; use it in a with statement")
        return self._metadata

    @property
    def clip(self) -> ClipSpec:
        """What one clip holds."""
        return self.metadata.clip

    @property
    def calibration(self) -> Calibration:
        """How the scores become events."""
        return self.metadata.calibration
