"""Commands that measure how much a machine carries."""

from pathlib import Path
from typing import Annotated

import typer

from livespot.cli.common import (
    EngineOption,
    MethodOption,
    ModelOption,
    SetOption,
    check_output,
    chosen_settings,
    err,
    examples,
    out,
    progress_bars,
    write_json,
)
from livespot.errors import SettingsError

commands = typer.Typer()


@commands.command(
    "streams",
    epilog=examples(
        "livespot bench streams",
        "livespot bench streams --cameras 14 --model yap2022",
        "livespot bench streams --fps 200 --most 4",
        "livespot bench streams --from cameras --clip interview.mp4 --json streams.json",
    ),
)
def bench_streams(
    fps: Annotated[float, typer.Option(min=1, max=240, help="Of every camera; a file has its own.")] = 30.0,
    cameras: Annotated[str | None, typer.Option(help="Only these numbers, such as 8,14; left out, the most.")] = None,
    most: Annotated[int, typer.Option(min=1, help="No more are tried.")] = 64,
    origin: Annotated[
        str, typer.Option("--from", help="memory: pictures decoded before; cameras: each has a reader that decodes.")
    ] = "memory",
    clip: Annotated[Path | None, typer.Option(help="Video with a face; left out, the virtual camera's.")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="Of each trial, beside its warm-up.")] = 10.0,
    method: MethodOption = None,
    model: ModelOption = None,
    engine: EngineOption = None,
    settings: SetOption = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures as JSON.")] = None,
) -> None:
    """How many cameras this machine carries without a drop, and how late they are. Takes some minutes.

    A clip is played as so many live sources at once, through alignment, method and event stream, as `livespot run`
    does. Whatever else runs on this machine takes its share: measure when it is idle.
    """
    check_output(json_file)
    flags = {"method": method, "infer.model": model, "infer.engine": engine}
    chosen = chosen_settings(None, flags, settings)
    numbers = _numbers(cameras)
    from livespot.bench.streams import Capacity, to_rich
    from livespot.spotting import scoring

    if origin not in ("memory", "cameras"):
        raise SettingsError(f"--from {origin}: expected memory or cameras")
    with scoring(chosen) as scorer, progress_bars() as progress:
        capacity = Capacity(chosen, scorer, fps, "memory" if origin == "memory" else "cameras", clip, seconds, most)
        task = progress.add_task("streams", total=None)

        def say(what: str) -> None:
            progress.update(task, description=what)

        if numbers:
            capacity.measure(numbers, say)
        else:
            capacity.search(say)
    figures = capacity.figures()
    write_json(json_file, figures)
    out.print(to_rich(figures))
    err.print(f"carried: {figures['carried']} cameras")


def _numbers(text: str | None) -> list[int]:
    if text is None:
        return []
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = [0]
    if min(numbers) < 1:
        raise SettingsError(f"--cameras {text}: expected numbers from 1, such as 8,14")
    return numbers
