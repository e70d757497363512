"""What a training run leaves behind: enough to go on, and to say where the weights come from."""

import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from livespot.errors import LivespotError
from livespot.files import replacing


@dataclass(frozen=True)
class Checkpoint:
    """Everything about a run at one step. Every field is plain data or tensors, so that loading runs no code."""

    step: int
    weights: dict[str, Any]
    optimiser: dict[str, Any]
    random: Any
    """State of torch's generator, a uint8 tensor; samples are drawn by seed and step alone."""
    settings: dict[str, Any]
    split: dict[str, list[str]]
    """Portraits by name: "training" and "validation"."""
    metrics: dict[str, float]
    """Of the last validation."""
    commit: str
    """Of the code when the run, or its last part, began."""
    seeds: list[int] = field(default_factory=list)
    """Of the runs that were joined, see `nets.joining`; empty for a run of its own."""

    def save(self, path: Path) -> None:
        """Write whole or not at all: a run may be killed at any moment."""
        with replacing(path) as part:
            torch.save(vars(self), part)

    @classmethod
    def load(cls, path: Path) -> "Checkpoint":
        """Read what `save` wrote. Raises LivespotError where the file is missing or something else."""
        try:
            return cls(**torch.load(path, map_location="cpu", weights_only=True))
        except FileNotFoundError:
            raise LivespotError(f"no checkpoint {path}: `livespot train` writes one as checkpoint.pt") from None
        except OSError as error:
            raise LivespotError(f"{path} cannot be read: {error.strerror or error}") from error
        except Exception as error:  # torch raises many kinds for a damaged file, and advises to run the code in it
            raise LivespotError(
                f"{path} is no checkpoint of this version's `livespot train`, or damaged: give another, or train anew"
            ) from error


def commit() -> str:
    """Commit of the checkout this code runs from, or "unknown" where it is installed."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 fixed words
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
