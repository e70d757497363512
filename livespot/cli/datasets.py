"""Commands for licensed datasets: tables of labels from what they deliver, files for the challenge."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from livespot.cli.common import (
    JsonOption,
    check_output,
    counted,
    err,
    examples,
    out,
    print_json,
    train_extra,
)
from livespot.datasets import adapters, report
from livespot.datasets.conventions import CHOICES, SUBJECTS, Conventions, flag
from livespot.datasets.found import BASES
from livespot.datasets.submission import COLUMNS, silent_clips, write_submission
from livespot.errors import SettingsError
from livespot.evaluation.labels import read_labels, read_predictions, write_labels

commands = typer.Typer(
    rich_markup_mode="rich",
    no_args_is_help=True,
    help="Bring CAS(ME)2, SAMM-LV, CAS(ME)3, other recordings and the challenge's clips to one table of labels.",
    epilog=examples("livespot datasets scan samm-lv SAMM/ --out samm-lv.csv"),
)


def _help(question: str) -> str:
    """What a convention is about, and its choices."""
    return f"{SUBJECTS[question][0].upper()}{SUBJECTS[question][1:]}: {', '.join(CHOICES[question])}."


def _choices() -> str:
    lines = (
        f"  [bold]{flag(question)}[/]: {SUBJECTS[question]} "
        + "; ".join(f"[bold]{choice}[/]: {says}" for choice, says in choices.items())
        for question, choices in CHOICES.items()
    )
    return "\n\n".join(("Conventions, the default of each first:", *lines))


DEFAULT = Conventions()


@commands.command(
    epilog=_choices()
    + "\n\n"
    + examples(
        "livespot datasets scan samm-lv SAMM/ --out samm-lv.csv --beyond cut",
        "livespot datasets scan casme2 CASME_sq/ --out casme2.csv --offset-zero apex",
        "livespot datasets scan casme3 CASME3/ --out casme3.csv --holes close",
        "livespot datasets scan generic recordings/ --labels mine.csv --out labels.csv",
        "livespot datasets scan megc2023 MEGC2023/ --out clips.csv",
    )
)
def scan(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"{', '.join(adapters.NAMES)}.")],
    root: Annotated[Path, typer.Argument(metavar="ROOT", help="Folder that the dataset was unpacked to.")],
    out_file: Annotated[Path | None, typer.Option("--out", "-o", help="Table of labels to write, .csv.")] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", "-l", help="The dataset's own table, if not found by its name.")
    ] = None,
    offset_zero: Annotated[str, typer.Option(help=_help("offset_zero"))] = DEFAULT.offset_zero,
    onset_zero: Annotated[str, typer.Option(help=_help("onset_zero"))] = DEFAULT.onset_zero,
    missing_apex: Annotated[str, typer.Option(help=_help("missing_apex"))] = DEFAULT.missing_apex,
    beyond: Annotated[str, typer.Option(help=_help("beyond"))] = DEFAULT.beyond,
    holes: Annotated[str, typer.Option(help=_help("holes"))] = DEFAULT.holes,
    faulty: Annotated[str, typer.Option(help=_help("faulty"))] = DEFAULT.faulty,
    frames_from: Annotated[
        str | None,
        typer.Option(help=f"How a generic table counts: {', '.join(BASES)} of the pictures; 0 if left out."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check what a dataset holds against what is known of it, and write its table of labels.

    In the table frames count from 0, onset and offset inclusive. Videos that are missing on disk are reported, and the
    table has the others. Rows that cannot be used, frames beyond a video and frames missing in the middle are errors,
    each with file, sheet and row, and nothing is written, unless a convention says otherwise. Excel files need the
    train extra.
    """
    check_output(out_file, (".csv",))
    conventions = Conventions(offset_zero, onset_zero, missing_apex, beyond, holes, faulty)
    with train_extra(), err.status("looking at every folder"):
        found = adapters.scan(name.lower().replace("_", "-"), root, conventions, labels, frames_from)
    if out_file is not None:
        _check_not_read(out_file, found.label_files)
        write_labels(out_file, found.videos)
    if as_json:
        print_json(report.figures(found) | {"labels": str(out_file) if out_file else None})
        return
    out.print(report.to_rich(found))
    for line in found.conventions:
        out.print(f"  {escape(line)}", highlight=False)
    for note in report.notes(found):
        err.print(f"[yellow]note:[/] {escape(note)}", highlight=False, soft_wrap=True)
    if out_file is not None:
        err.print(f"{counted(len(found.videos), 'video')}: {escape(str(out_file))}", highlight=False, soft_wrap=True)


def _check_not_read(out_file: Path, read: Iterable[Path]) -> None:
    if out_file.resolve() in [file.resolve() for file in read]:
        raise SettingsError(f"{out_file} is what is read: give another name to write")


@commands.command(
    epilog=examples(
        "livespot datasets submit 2022 events.csv cas_pred.csv",
        "livespot datasets submit 2023 events.csv samm_pred.csv --clips clips.csv",
    )
)
def submit(
    year: Annotated[int, typer.Argument(metavar="YEAR", help=f"Of the challenge: {', '.join(map(str, COLUMNS))}.")],
    predictions: Annotated[
        Path, typer.Argument(metavar="PREDICTIONS", help="CSV or JSON lines: video,type,onset,offset, frames from 0.")
    ],
    out_file: Annotated[Path, typer.Argument(metavar="OUT", help="File to hand in, .csv.")],
    clips: Annotated[
        Path | None, typer.Option(help="Table of the clips, of livespot datasets scan: names and lengths are checked.")
    ] = None,
    first_frame: Annotated[int, typer.Option(min=0, max=1, help="Number of a clip's first frame in OUT.")] = 1,
) -> None:
    """Write predictions for the challenge's unseen clips as it wants them handed in.

    The challenge's papers do not say how a submission counts frames. The labels of its datasets begin with 1, and so
    does this file: frame 0 of a prediction becomes 1. --first-frame 0 leaves frames as they are.
    """
    check_output(out_file, (".csv",))
    _check_not_read(out_file, (predictions,))
    known = read_labels(clips) if clips else {}
    predicted = read_predictions([predictions], known)
    silent = silent_clips(known, predicted) if clips else []
    rows = write_submission(out_file, year, predicted, first_frame)
    if silent:
        err.print(f"[yellow]note:[/] nothing was predicted for {escape(', '.join(silent))}", soft_wrap=True)
    err.print(f"{counted(rows, 'expression')}: {escape(str(out_file))}", highlight=False, soft_wrap=True)
