"""Commands that measure: predictions against labels, speed and methods on this machine."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from livespot.cli import capacity
from livespot.cli.common import (
    JsonOption,
    ModelOption,
    check_output,
    chosen_settings,
    err,
    examples,
    out,
    print_json,
    progress_bars,
    write_json,
)
from livespot.errors import SettingsError
from livespot.evaluation.matching import RULES

commands = typer.Typer()


def _rules() -> str:
    """What each rule of scoring says, and who follows it, for a command's help."""
    lines = (f"  [bold]{name}[/]: {escape(rule.says)} ({escape(rule.users)})" for name, rule in RULES.items())
    return "\n\n".join(("Rules:", *lines))


@commands.command(
    epilog=_rules()
    + "\n\n"
    + examples(
        "livespot evaluate --labels labels.csv --predictions events.csv",
        "livespot evaluate --labels labels.csv --predictions a.csv --predictions b.csv",
        "livespot evaluate --labels labels.csv --predictions events.csv --report out/",
    )
)
def evaluate(
    labels: Annotated[
        Path, typer.Option("--labels", "-l", help="CSV: video,subject,fps,type,onset,apex,offset, and frames if known.")
    ],
    predictions: Annotated[
        list[Path],
        typer.Option("--predictions", "-p", help="CSV or JSON lines: video,type,onset,offset,score; repeats."),
    ],
    rule: Annotated[str, typer.Option(help=f"What counts as a hit: {', '.join(RULES)}.")] = "official",
    log: Annotated[Path | None, typer.Option(help="Write the challenge's log file.")] = None,
    database: Annotated[
        str | None, typer.Option(help="Whose log it is, samm-lv or casme2; told by frame rate if left out.")
    ] = None,
    report_dir: Annotated[Path | None, typer.Option("--report", help="Folder for a page with timelines.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap over subjects.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Score predictions against labels as the challenge does, or by a named variant.

    Frames are 0-based, onset and offset inclusive; a labels row with empty type, onset, apex and offset is a video
    without expressions. What is predicted in a video that has no labels counts as false.
    """
    from livespot.evaluation import challenge, report, scores, summary
    from livespot.evaluation.labels import read_labels, read_predictions

    check_output(log)
    scores.named_rule(rule)
    if log and log.resolve() in [file.resolve() for file in (labels, *predictions)]:
        raise SettingsError(f"{log} is what is to be read: give --log another name")
    videos = read_labels(labels)
    found = scores.evaluate(videos, read_predictions(predictions, videos), rule, seed)
    if log:
        challenge.write_log(log, found, database)
    if report_dir:
        err.print(f"report: {escape(str(report.write(report_dir, found)))}", soft_wrap=True)
    if as_json:
        print_json(summary.figures(found))
    else:
        for table in summary.to_rich(found):
            out.print(table, "")
        out.print(summary.frames_in_words(found), highlight=False)
    for note in summary.notes(found):
        err.print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True)


benches = typer.Typer(rich_markup_mode="rich")
benches.add_typer(capacity.commands)
commands.add_typer(benches, name="bench")


@benches.callback(
    invoke_without_command=True,
    epilog=examples("livespot bench", "livespot bench --clip interview.mp4 --json out.json"),
)
def bench(
    context: typer.Context,
    clip: Annotated[Path | None, typer.Option(help="Video with one face; left out, the virtual camera's.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures as JSON.")] = None,
    frames: Annotated[int, typer.Option(min=500, help="Frames of the memory test, the clip looped.")] = 10_000,
    model: ModelOption = None,
) -> None:
    """Measure speed, latency, alignment, motion and memory on this machine, or what a command names."""
    if context.invoked_subcommand is not None:
        return
    from livespot.bench import errors_to_rich, measure, to_rich

    check_output(json_file)
    chosen = chosen_settings(None, {"infer.model": model}, None)
    with progress_bars() as progress:
        task = progress.add_task("bench", total=None)
        figures = measure(clip, chosen, frames, lambda what: progress.update(task, description=what))
    write_json(json_file, figures)
    out.print(to_rich(figures))
    out.print(errors_to_rich(figures))


@benches.command(
    "spotting",
    epilog=examples("livespot bench spotting --faces portraits/ --clips clips/ --json spotting.json"),
)
def bench_spotting(
    faces: Annotated[Path | None, typer.Option(help="Folder of portraits, one face each: they are animated.")] = None,
    clips: Annotated[Path | None, typer.Option(help="Folder of videos of a face: its skin is moved.")] = None,
    videos: Annotated[int, typer.Option(min=1, help="Portraits; the rest grows with them.")] = 8,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures as JSON.")] = None,
    model: ModelOption = None,
) -> None:
    """Compare all methods where it is known what is shown, which takes about ten minutes. All of it is synthetic."""
    check_output(json_file)
    chosen = chosen_settings(None, {"infer.model": model}, None)
    if faces is None and clips is None:
        raise SettingsError("nothing to spot in: give --faces, a folder of portraits, or --clips, one of videos")
    from livespot.bench import spotting
    from livespot.infer import OnnxScorer

    with OnnxScorer(chosen.infer) as scorer, progress_bars() as progress:
        trial = spotting.Trial(faces, clips, videos, chosen, scorer)
        task = progress.add_task("frames", total=trial.frames)
        for _ in trial:
            progress.update(task, advance=1, total=trial.frames)
        figures = trial.figures()
    write_json(json_file, figures)
    out.print(spotting.to_rich(figures))
    for note in trial.notes:
        err.print(f"[yellow]left out:[/] {escape(note)}")
