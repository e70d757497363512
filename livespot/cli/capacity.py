"""Commands that measure how much a machine carries."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

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
    numbers = _numbers("--cameras", cameras)
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


@commands.command(
    "engine",
    epilog=examples(
        "livespot bench engine",
        "livespot bench engine yap2022 --engine onnx --batch 1,14",
        "livespot bench engine runs/mine/net.onnx --json engines.json",
    ),
)
def bench_engine(
    model: Annotated[str, typer.Argument(help="An engine that comes with livespot, or an ONNX file.")] = "default",
    engine: Annotated[str | None, typer.Option(help="Only this one; left out, all that open here.")] = None,
    batch: Annotated[str | None, typer.Option(help="Clips at once, such as 1,64; left out, 1 to 1024.")] = None,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Of ONNX Runtime on the CPU.")] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures as JSON.")] = None,
) -> None:
    """Measure clips a second and ms a batch of every engine that opens here. Takes a minute or two.

    On a GPU also without the copies between memories, with PyTorch by CUDA graphs and eager, and as a share of what the
    GPU's memory can move. PyTorch needs NAME.pt beside NAME.onnx, TensorRT `livespot build`.
    """
    check_output(json_file)
    numbers = _numbers("--batch", batch)
    from livespot.bench.engines import BATCHES, candidates, measure, to_rich
    from livespot.config import InferSettings

    found = candidates(InferSettings(model=model, threads=threads))
    if engine is not None and engine not in found:
        raise SettingsError(f"--engine {engine}: expected one of {'; '.join(found)}")
    wanted = found if engine is None else {engine: found[engine]}
    with progress_bars() as progress:
        task = progress.add_task("engines", total=None)
        figures = measure(wanted, numbers or BATCHES, lambda what: progress.update(task, description=what))
    write_json(json_file, figures)
    for table in to_rich(figures):
        out.print(table)
    for name, why in figures["absent"].items():
        err.print(f"[dim]no {name}: {escape(why)}[/]", soft_wrap=True)


def _numbers(flag: str, text: str | None) -> list[int]:
    if text is None:
        return []
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = [0]
    if min(numbers) < 1:
        raise SettingsError(f"{flag} {text}: expected numbers from 1, such as 8,14")
    return numbers
