"""What the commands share: two consoles, options, settings, outputs that are checked before the work begins."""

import json
import os
import re
from collections.abc import Collection, Generator, Iterator
from contextlib import closing, contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer
import yaml
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from livespot import config
from livespot.errors import SettingsError
from livespot.files import replacing

KEY = re.compile(r"\w+(?:\.\w+)+")
"""section.key"""

out = Console()
err = Console(stderr=True)


class Exit(IntEnum):
    """Exit codes, where it is not 0."""

    NOT_RUNNING = 1
    """A livespot answers, but not all of its sources run."""
    UNUSABLE = 2
    """Something the user gave cannot be used; the message says what."""
    INTERRUPTED = 130


SourceOption = Annotated[
    list[str] | None,
    typer.Option("--source", "-s", help="Webcam index, rtsp:// or http:// address, file, folder of images, demo://."),
]
ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", help="Settings in YAML; flags override them.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Any setting: --set motion.micro_threshold=3.5; repeats.")
]
ModelOption = Annotated[
    str | None, typer.Option("--model", "-m", help="Network: an engine that comes with livespot, or an ONNX file.")
]
EngineOption = Annotated[
    str | None, typer.Option("--engine", help="What runs the network: auto, tensorrt, torch, onnx-cuda or onnx.")
]
MethodOption = Annotated[
    str | None,
    typer.Option("--method", help="motion, network or both. both if left out, network if --model is given."),
]
MaxFacesOption = Annotated[int | None, typer.Option(help="Faces followed at once.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on standard output, words on standard error.")]
PlotOption = Annotated[Path | None, typer.Option("--plot", help="Draw scores and events: .png, .svg or .pdf.")]

RecordOption = Annotated[
    Path | None,
    typer.Option("--record", metavar="DIR", help="Record events, gaps and states in a new file there."),
]


def examples(*lines: str) -> str:
    """The end of a command's help. An empty line is where rich breaks the line."""
    return "\n\n".join(("Examples:", *(f"  [bold]{escape(line)}[/]" for line in lines)))


def chosen_settings(file: Path | None, flags: dict[str, Any], more: list[str] | None) -> config.Settings:
    """Settings of a file, then of flags; each is checked for itself, so that a message names the right one."""
    values: dict[str, Any] = {}
    if file is not None:
        values = config.load(file)
        config.check(values, str(file))
    flags = flags | _assignments(more or [])
    network = flags.get("infer.model") or flags.get("infer.engine")
    if network and not (flags.get("method") or "method" in values):
        flags["method"] = "network"  # who gives a network, or what runs it, wants to see it work
    chosen = config.check(config.override(values, flags), "command line")
    if network and chosen.method not in config.NETWORK_METHODS:
        flag = "--model" if flags.get("infer.model") else "--engine"
        raise SettingsError(f"the method {chosen.method} has no network: leave {flag} out, or give --method both")
    return chosen


def _assignments(texts: list[str]) -> dict[str, Any]:
    """--set section.key=value, values as YAML reads them. No message here shows one: it may hold a password."""
    chosen = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not KEY.fullmatch(key):
            shown = key if re.fullmatch(r"[\w. ]+", key) else "***"
            raise SettingsError(f"--set {shown}: expected section.key=value, such as motion.micro_threshold=3.5")
        try:
            chosen[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise SettingsError(f"--set {key}: its value is not YAML; quotes make it a text") from None
    return chosen


def check_output(file: Path | None, formats: Collection[str] = ()) -> None:
    """What cannot be written is found out before an hour of video is spotted."""
    if file is None:
        return
    if formats and file.suffix.lower() not in formats:
        raise SettingsError(f"{file} has no known format: end its name in {' or '.join(formats)}")
    folder = file.absolute().parent
    if not folder.is_dir():
        raise SettingsError(f"{file} cannot be written: there is no folder {folder}: create it")
    if file.is_dir() or not os.access(folder, os.W_OK):
        raise SettingsError(f"{file} cannot be written: give a file in a folder that is yours")


@contextmanager
def train_extra() -> Iterator[None]:
    """Imports inside name the extra that is missing. Raises SettingsError."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise SettingsError(f"{error.name} is not installed: pip install 'livespot[train]'") from None


def print_json(value: Any) -> None:
    """One line on standard output, at once."""
    print(json.dumps(value), flush=True)


def write_json(file: Path | None, figures: dict[str, Any]) -> None:
    """Write `figures` where a file is given."""
    if file is not None:
        with replacing(file) as part:
            part.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def counted(number: int, what: str) -> str:
    """`1 event`, `2 events`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


class Resumable(Protocol):
    """Work on many frames that goes on where it was ended."""

    frames: int
    """To be done in all, as far as that is known."""

    def __iter__(self) -> Generator[int, None, None]:
        """Each turn tells how many frames were done in it."""


def carry_out(work: Resumable) -> None:
    """Do it to its end, with a bar of progress. After Ctrl-C the command ends, and says that it can go on."""
    try:
        with progress_bars() as progress, closing(iter(work)) as turns:
            task = progress.add_task("frames", total=work.frames)
            for frames in turns:
                progress.update(task, advance=frames, total=work.frames)
    except KeyboardInterrupt:
        err.print("[yellow]interrupted[/]: the same command goes on where it was")
        raise typer.Exit(Exit.INTERRUPTED) from None


def progress_bars() -> Progress:
    """Bars on standard error, and only where somebody looks."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=err, transient=True, disable=not err.is_terminal,
    )  # fmt: skip
