"""Commands that prepare what others recorded: faces are aligned once, for all that learns from them."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from livespot.cli.common import (
    ConfigOption,
    JsonOption,
    SetOption,
    carry_out,
    chosen_settings,
    counted,
    err,
    examples,
    out,
    print_json,
)

commands = typer.Typer()


@commands.command(
    epilog=examples(
        "livespot prepare labels.csv cache/",
        "livespot prepare videos/labels.csv cache/ --jobs 4",
        "livespot prepare labels.csv other/ --set align.max_faces=2 --json",
    )
)
def prepare(
    labels: Annotated[
        Path,
        typer.Argument(
            metavar="LABELS", help="CSV as for evaluate, with a column path: a video or a folder of frames."
        ),
    ],
    cache: Annotated[Path, typer.Argument(metavar="CACHE", help="Folder to write; a run that was ended goes on.")],
    jobs: Annotated[int, typer.Option(min=1, help="Processes, each of which aligns a video at a time.")] = 1,
    config_file: ConfigOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Align the face in every frame of every video of a table, once.

    What is aligned is kept by the aligner's version and its settings, `align` of the configuration. Labels are not part
    of it: with an edited table the same command takes them over and aligns nothing anew. 13 kB a frame; Ctrl-C ends it,
    the same command goes on. The exit code is 0 where at least one video has a face, 2 where none has.
    """
    chosen = chosen_settings(config_file, {}, settings)
    from livespot.datasets.preparing import Preparation

    with err.status("looking at the videos"):
        preparation = Preparation(labels, cache, chosen.align, jobs)
    if preparation.frames:
        needed = f"about {preparation.bytes_needed / 1e9:.2f} GB"
        err.print(f"{counted(preparation.frames, 'frame')} to align, {needed} in {escape(str(cache))}", soft_wrap=True)
    carry_out(preparation)
    summary = preparation.summary()
    for name, notes in summary["notes"].items():
        err.print(f"[yellow]note:[/] {escape(name)}: {escape('; '.join(notes))}", soft_wrap=True)
    for name, why in summary["left_out"].items():
        err.print(f"[yellow]left out:[/] {escape(name)}: {escape(why)}", soft_wrap=True)
    if as_json:
        print_json(summary)
        return
    seen = f"{counted(summary['frames'], 'frame')}, {summary['frames_with_face']} with a face"
    out.print(
        f"{counted(summary['videos'], 'video')}, {seen}, {summary['bytes'] / 1e9:.2f} GB: {escape(str(cache))}",
        highlight=False,
        soft_wrap=True,
    )
    if summary["left_out"]:
        err.print(f"{counted(len(summary['left_out']), 'video')} left out")
