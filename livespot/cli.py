"""The command line: what a user asks for, turned into settings, runs and words. Nothing here knows how to spot."""

import json
import os
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from enum import IntEnum
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from livespot import config, tables
from livespot.errors import LivespotError, SettingsError
from livespot.evaluation.matching import RULES
from livespot.files import replacing
from livespot.records import MAX_FPS

if TYPE_CHECKING:
    from livespot.infer import Scorer
    from livespot.live import Meter
    from livespot.spotting import Findings

MARKS = {"ok": "[green]ok[/]", "warning": "[yellow]note[/]", "failed": "[red]failed[/]"}
"""How the doctor's findings begin."""

app = typer.Typer(
    name="livespot",
    help="Spots micro- and macro-expressions in live video and streams them as events.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

out = Console()
err = Console(stderr=True)


class Exit(IntEnum):
    """Exit codes, where it is not 0."""

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
MethodOption = Annotated[
    str | None,
    typer.Option("--method", help="motion, network or both. motion if left out, network if --model is given."),
]
MaxFacesOption = Annotated[int | None, typer.Option(help="Faces followed at once.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on standard output, words on standard error.")]
PlotOption = Annotated[Path | None, typer.Option("--plot", help="Draw scores and events: .png, .svg or .pdf.")]


def _examples(*lines: str) -> str:
    """The end of a command's help. An empty line is where rich breaks the line."""
    return "\n\n".join(("Examples:", *(f"  [bold]{escape(line)}[/]" for line in lines)))


@app.command(
    epilog=_examples(
        "livespot run --source 0 --show",
        "livespot run -s rtsp://10.0.0.7/main -s rtsp://10.0.0.8/main",
        "livespot run --source 0 --method both",
        "livespot run --config configs/live.yaml --json",
    )
)
def run(
    source: SourceOption = None,
    config_file: ConfigOption = None,
    settings: SetOption = None,
    method: MethodOption = None,
    model: ModelOption = None,
    max_faces: MaxFacesOption = None,
    endpoint: Annotated[str | None, typer.Option(help="Where events are published, tcp://127.0.0.1:5556.")] = None,
    scores: Annotated[bool, typer.Option("--scores", help="Publish the scores of every frame as well.")] = False,
    show: Annotated[bool, typer.Option("--show", help="A window with face, crop, scores and events.")] = False,
    duration: Annotated[float | None, typer.Option(min=0, help="End after so many seconds.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Watch cameras and publish what is spotted. Ctrl-C ends it in good order."""
    flags = {
        "sources": tuple(source) if source else None,
        "method": method,
        "infer.model": model,
        "align.max_faces": max_faces,
        "publish.endpoint": endpoint,
        "publish.scores": scores or None,
    }
    chosen = _settings(config_file, flags, settings)
    if not chosen.sources:
        raise SettingsError("no source is given: --source 0 for the first webcam, --source demo:// without a camera")
    _check_live(chosen)
    from livespot.capture import open_source, unique_names
    from livespot.live import Windows, serve, stopping_on_signals
    from livespot.pipeline import Pipeline
    from livespot.publish.zmq import Publisher
    from livespot.spotting import scoring

    sources = [open_source(one, chosen.capture) for one in unique_names(chosen.sources)]
    publish = chosen.publish
    with ExitStack() as stack:
        publisher = stack.enter_context(Publisher(publish.endpoint, publish.heartbeat_s))
        scorer = stack.enter_context(scoring(chosen))
        pipeline = stack.enter_context(Pipeline(chosen, sources, scorer))
        stack.enter_context(stopping_on_signals(pipeline))
        names = [one.name for one in sources]
        windows = stack.enter_context(Windows(pipeline, names, chosen.align.max_faces)) if show else None
        err.print(f"publishing on [bold]{escape(publisher.endpoint)}[/], {_named(chosen, scorer)}", soft_wrap=True)
        status = stack.enter_context(_status_line(as_json))
        for turn in serve(pipeline, publisher, publish.scores, duration):
            for message in turn.messages:
                _tell(message, as_json)
            status(turn.meter, pipeline.dropped)
            if windows and not windows.show(turn):
                pipeline.stop()
    meter = turn.meter
    counts = (_count(meter.frames, "frame"), _count(meter.events, "event"), _count(meter.gaps, "gap"))
    err.print(f"{', '.join(counts)}, {_count(pipeline.dropped, 'frame')} dropped")


@app.command(
    epilog=_examples(
        "livespot spot interview.mp4 --out events.csv --plot timeline.png",
        "livespot spot interview.mp4 --overlay seen.mp4 --method network",
        "livespot spot frames/ --fps 200 --json",
    )
)
def spot(
    video: Annotated[str, typer.Argument(help="Video file, folder of images, or demo://?realtime=0.")],
    out_file: Annotated[Path | None, typer.Option("--out", "-o", help="Write events: .csv or .jsonl.")] = None,
    plot: PlotOption = None,
    overlay: Annotated[
        Path | None, typer.Option(help="Write a video of what livespot sees, as it would live: .mp4 or .avi.")
    ] = None,
    fps: Annotated[float | None, typer.Option(min=1, help="Of a folder of images, 30 where left out.")] = None,
    config_file: ConfigOption = None,
    settings: SetOption = None,
    method: MethodOption = None,
    model: ModelOption = None,
    max_faces: MaxFacesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Spot expressions in a recording, as fast as this machine allows.

    Ctrl-C ends it early: what was found until then is written, and the exit code is 130.
    """
    flags = {"method": method, "infer.model": model, "align.max_faces": max_faces}
    chosen = _settings(config_file, flags, settings)
    from livespot.live import stopping_on_signals
    from livespot.overlay import CODECS, Overlay, VideoWriter
    from livespot.pipeline import Pipeline
    from livespot.plot import FORMATS, timeline
    from livespot.records import Event, Scores
    from livespot.spotting import Findings, recording, scoring, with_hindsight

    _check_output(out_file, tables.FORMATS)
    _check_output(plot, FORMATS)
    _check_output(overlay, CODECS)
    if overlay:
        _check_live(chosen)
    if overlay and overlay.resolve() == Path(video).resolve():
        raise SettingsError(f"{overlay} is the video itself: give --overlay another name")
    source = recording(video, chosen, fps)
    findings = Findings()
    with ExitStack() as stack:
        scorer = stack.enter_context(scoring(chosen))
        pipeline = stack.enter_context(Pipeline(chosen if overlay else with_hindsight(chosen), [source], scorer))
        stack.enter_context(stopping_on_signals(pipeline))
        drawing = Overlay(pipeline.thresholds, chosen.align.max_faces) if overlay else None
        writer: VideoWriter | None = None
        progress = stack.enter_context(_progress())
        task = progress.add_task(source.name, total=None)
        for step in chain.from_iterable(pipeline):
            findings.add(step)
            if step.frame is None:
                continue
            progress.update(task, total=source.frame_count, completed=step.frame.index + 1)
            if drawing and overlay:
                writer = writer or stack.enter_context(VideoWriter(overlay, source.fps or 30.0))
                for item in (*step.scores, *step.told):
                    if isinstance(item, (Scores, Event)):
                        drawing.push(item)
                writer.write(drawing.draw(step.frame, step.faces))
    _report(findings, as_json)
    if out_file:
        tables.write(out_file, findings.events)
    if plot:
        traces = findings.traces(pipeline.delay_s)
        timeline(plot, traces, findings.events, pipeline.thresholds, gaps=findings.gaps, title=source.name)
    if pipeline.stopped:
        err.print("[yellow]interrupted[/]: only what came before is told")
        raise typer.Exit(Exit.INTERRUPTED)


@app.command(
    epilog=_examples(
        "livespot listen",
        "livespot listen tcp://10.0.0.5:5556 --stream door --kind event --kind gap",
        "livespot listen --json >> events.jsonl",
    )
)
def listen(
    endpoint: Annotated[str, typer.Argument(help="Where a livespot publishes.")] = config.PublishSettings().endpoint,
    kind: Annotated[
        list[str] | None, typer.Option("--kind", "-k", help="Of event, gap, status, score, heartbeat.")
    ] = None,
    stream: Annotated[list[str] | None, typer.Option("--stream", help="Only this source; repeats.")] = None,
    timeout: Annotated[float | None, typer.Option(min=0, help="End after so many seconds without a message.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print events as they come. Ctrl-C ends it."""
    from livespot.publish import subscribe

    kinds = kind or ("event", "gap", "status")
    with suppress(KeyboardInterrupt), subscribe(endpoint, kinds, stream or (), timeout) as messages:  # type: ignore[arg-type]
        err.print(f"listening to [bold]{escape(endpoint)}[/]")
        for message in messages:
            _tell(message, as_json, all_kinds=True)


@app.command(epilog=_examples("livespot demo", "livespot demo --seconds 60 --seed 7 --portrait me.jpg"))
def demo(
    seconds: Annotated[float, typer.Option(min=2, help="How long the virtual camera plays.")] = 30.0,
    out_file: Annotated[Path, typer.Option("--out", "-o", help="Timeline: .png, .svg or .pdf.")] = Path("timeline.png"),
    portrait: Annotated[Path | None, typer.Option(help="A picture of a face to animate instead.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Other expressions at other times.")] = 0,
    method: MethodOption = None,
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Watch a virtual camera whose face moves at known times, and compare. No camera, no GPU."""
    flags = {"method": method, "infer.model": model, "publish.endpoint": "tcp://127.0.0.1:*"}
    chosen = _settings(None, flags, None)
    _check_live(chosen)
    from livespot.capture.virtual import ASTRONAUT, VirtualCamera
    from livespot.demo import HEARTBEAT_S, Listener, compare, to_rich
    from livespot.live import serve, stopping_on_signals
    from livespot.pipeline import Pipeline
    from livespot.plot import FORMATS, Shown, timeline
    from livespot.publish.zmq import Publisher
    from livespot.spotting import Findings, scoring

    _check_output(out_file, FORMATS)
    camera = VirtualCamera(portrait or ASTRONAUT, seed=seed, seconds=seconds)
    findings = Findings()
    with ExitStack() as stack:
        publisher = stack.enter_context(Publisher(chosen.publish.endpoint, HEARTBEAT_S))
        scorer = stack.enter_context(scoring(chosen))
        pipeline = stack.enter_context(Pipeline(chosen, [camera], scorer))
        stack.enter_context(stopping_on_signals(pipeline))
        listener = stack.enter_context(Listener(publisher))
        err.print(f"a virtual camera plays for {seconds:g} s, published on [bold]{escape(publisher.endpoint)}[/]")
        err.print(_named(chosen, scorer))
        with _progress() as progress:
            task = progress.add_task(camera.name, total=camera.frame_count)
            for turn in serve(pipeline, publisher):
                for step in turn.steps:
                    findings.add(step)
                progress.update(task, completed=findings.frames)
    truth = [one for one in camera.truth if one.offset_s <= findings.last_s]
    lines = compare(truth, listener.events, camera.fps or 30.0)
    shown = [Shown(one.type, one.onset_s, one.apex_s, one.offset_s) for one in truth]
    title = "livespot demo: a portrait animated at known times (synthetic)"
    traces = findings.traces(pipeline.delay_s)
    timeline(out_file, traces, findings.events, pipeline.thresholds, truth=shown, gaps=findings.gaps, title=title)
    hits, alarms = sum(line.hit for line in lines), sum(line.shown is None for line in lines)
    if as_json:
        _print_json({"shown": len(truth), "spotted": hits, "false_alarms": alarms, "timeline": str(out_file)})
    else:
        out.print(to_rich(lines))
        out.print()
        out.print(f"{hits} of {len(truth)} spotted, {_count(alarms, 'false alarm')}; timeline: {escape(str(out_file))}")


@app.command(epilog=_examples("livespot doctor", "livespot doctor --json"))
def doctor(as_json: JsonOption = False) -> None:
    """Say what works on this machine, and for what does not the reason and the cure."""
    from dataclasses import asdict

    from livespot.doctor import examine, exit_code

    findings = examine()
    if as_json:
        _print_json([asdict(finding) for finding in findings])
    else:
        table = Table.grid(padding=(0, 2, 0, 0))
        for finding in findings:
            cure = f"\n[dim]{escape(finding.cure)}[/]" if finding.cure else ""
            table.add_row(MARKS[finding.state], f"[bold]{finding.what}[/]", escape(finding.found) + cure)
        out.print(table)
    raise typer.Exit(exit_code(findings))


def _rules() -> str:
    """What each rule of scoring says, and who follows it, for a command's help."""
    lines = (f"  [bold]{name}[/]: {escape(rule.says)} ({escape(rule.users)})" for name, rule in RULES.items())
    return "\n\n".join(("Rules:", *lines))


@app.command(
    epilog=_rules()
    + "\n\n"
    + _examples(
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

    _check_output(log)
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
        _print_json(summary.figures(found))
    else:
        for table in summary.to_rich(found):
            out.print(table, "")
        out.print(summary.frames_in_words(found), highlight=False)
    for note in summary.notes(found):
        err.print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True)


benches = typer.Typer(rich_markup_mode="rich")
app.add_typer(benches, name="bench")


@benches.callback(
    invoke_without_command=True,
    epilog=_examples("livespot bench", "livespot bench --clip interview.mp4 --json out.json"),
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

    _check_output(json_file)
    chosen = _settings(None, {"infer.model": model}, None)
    with _progress() as progress:
        task = progress.add_task("bench", total=None)
        figures = measure(clip, chosen, frames, lambda what: progress.update(task, description=what))
    _write_json(json_file, figures)
    out.print(to_rich(figures))
    out.print(errors_to_rich(figures))


@benches.command(
    "spotting",
    epilog=_examples("livespot bench spotting --faces portraits/ --clips clips/ --json spotting.json"),
)
def bench_spotting(
    faces: Annotated[Path | None, typer.Option(help="Folder of portraits, one face each: they are animated.")] = None,
    clips: Annotated[Path | None, typer.Option(help="Folder of videos of a face: its skin is moved.")] = None,
    videos: Annotated[int, typer.Option(min=1, help="Portraits; the rest grows with them.")] = 8,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures as JSON.")] = None,
    model: ModelOption = None,
) -> None:
    """Compare all methods where it is known what is shown, which takes about ten minutes. All of it is synthetic."""
    _check_output(json_file)
    chosen = _settings(None, {"infer.model": model}, None)
    if faces is None and clips is None:
        raise SettingsError("nothing to spot in: give --faces, a folder of portraits, or --clips, one of videos")
    from livespot.bench import spotting
    from livespot.infer import OnnxScorer

    with OnnxScorer(chosen.infer) as scorer, _progress() as progress:
        trial = spotting.Trial(faces, clips, videos, chosen, scorer)
        task = progress.add_task("frames", total=trial.frames)
        for _ in trial:
            progress.update(task, advance=1, total=trial.frames)
        figures = trial.figures()
    _write_json(json_file, figures)
    out.print(spotting.to_rich(figures))
    for note in trial.notes:
        err.print(f"[yellow]left out:[/] {escape(note)}")


@app.command(
    epilog=_examples(
        "livespot synth videos/ --faces portraits/ --videos 100",
        "livespot synth calm/ --faces portraits/ --calm --fps 200 --seconds 10",
        "livespot synth both/ --faces portraits/ --clips clips/ --seed 7 --jobs 4",
    )
)
def synth(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write; a run that was ended goes on.")],
    faces: Annotated[Path | None, typer.Option(help="Folder of portraits, one face each: they are animated.")] = None,
    clips: Annotated[Path | None, typer.Option(help="Folder of videos of a face: its skin is moved.")] = None,
    videos: Annotated[int, typer.Option(min=1, help="How many; portraits and clips take turns.")] = 10,
    seconds: Annotated[float, typer.Option(min=2, max=86400, help="Length of a portrait's video.")] = 30.0,
    fps: Annotated[float, typer.Option(min=10, max=MAX_FPS, help="Frames a second of a portrait's video.")] = 30.0,
    seed: Annotated[int, typer.Option(min=0, help="Other faces, doing other things.")] = 0,
    calm: Annotated[bool, typer.Option("--calm", help="Nothing is expressed; all else happens.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Processes, each of which makes a video at a time.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Make videos of synthetic expressions with exact labels.

    labels.csv has a row for each expression; beside each video a .npz holds displacements, action units and pose of the
    head at every frame; videos.json says how each was filmed. Ctrl-C ends it; the same command goes on.
    """
    from livespot.synth.videos import Order, Videos

    made = Videos(folder, Order(faces, clips, videos, seconds, fps, seed, calm), jobs)
    try:
        with _progress() as progress, closing(iter(made)) as turns:
            task = progress.add_task("frames", total=made.frames)
            for frames in turns:
                progress.update(task, advance=frames, total=made.frames)
    except KeyboardInterrupt:
        err.print("[yellow]interrupted[/]: the same command goes on where it was")
        raise typer.Exit(Exit.INTERRUPTED) from None
    summary = made.summary()
    for why in made.left_out.values():
        err.print(f"[yellow]left out:[/] {escape(why)}", soft_wrap=True)
    if as_json:
        _print_json(summary)
    else:
        shown = f"{_count(summary['micro'], 'micro-expression')} and {_count(summary['macro'], 'macro-expression')}"
        out.print(
            f"{_count(summary['videos'], 'video')}, {summary['minutes']:g} min, {shown}: {escape(summary['labels'])}"
        )
        if made.left_out:
            err.print(f"{_count(videos - summary['videos'], 'video')} of {videos} left out")


def _write_json(file: Path | None, figures: dict[str, Any]) -> None:
    if file is not None:
        with replacing(file) as part:
            part.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


@app.command(
    epilog=_examples(
        "livespot train configs/train/default.yaml --faces portraits/ --clips clips/ --out runs/default",
        "livespot train configs/train/yap2022.yaml --faces portraits/ --out runs/yap2022",
    )
)
def train(
    config_file: Annotated[Path, typer.Argument(help="Training settings: configs/train/default.yaml, yap2022.yaml.")],
    faces: Annotated[Path, typer.Option(help="Folder of portraits, one face each.")],
    out_dir: Annotated[Path, typer.Option("--out", "-o", help="Checkpoint and metrics; a run there is resumed.")],
    clips: Annotated[
        Path | None, typer.Option(help="Folder of real videos of faces: expressions are pasted into their motion.")
    ] = None,
) -> None:
    """Train a network on expressions put into portraits. Needs the train extra.

    The network on motion first records portraits that perform, which takes longer than its training. Kill it whenever
    you like: the same command goes on where it was. Curves: tensorboard --logdir runs
    """
    with _train_extra():
        from livespot.training import loop, motion_loop
        from livespot.training.settings import network_of
    if network_of(config_file) == "motion":
        out.print(motion_loop.train(config_file, out_dir, faces, clips))
    elif clips is not None:
        raise SettingsError(f"{config_file} trains a network on portraits alone: leave --clips out")
    else:
        out.print(loop.train(config_file, out_dir, faces))


@app.command(epilog=_examples("livespot export runs/default/best.pt engines/default.onnx --faces portraits/"))
def export(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of a training.")],
    onnx: Annotated[Path, typer.Argument(help="Engine to write, engines/NAME.onnx.")],
    faces: Annotated[
        Path | None,
        typer.Option(help="The portraits of the training: thresholds are found on those that it did not see."),
    ] = None,
) -> None:
    """Turn a checkpoint into an engine, compared with PyTorch before it is written. Needs the train extra.

    Without --faces the engine gets thresholds of 0.5. With them it is calibrated on videos of one half of the unseen
    faces and scored on the other half, which takes some minutes; the figures are stored in the engine. A network on
    motion finds these videos beside its checkpoint, in recordings/, or records what is missing.
    """
    _check_output(onnx, (".onnx",))
    with _train_extra():
        from livespot.export import export as write_engine
        from livespot.training.calibrate import calibrate
    if faces is None:
        err.print(f"{onnx} differs from PyTorch by {write_engine(checkpoint, onnx):.1e} at most; not calibrated")
        return
    with err.status("calibrating on videos of unseen faces"):
        figures = calibrate(checkpoint, faces, onnx)
    _print_json(figures)


def main() -> None:
    """Entry point: errors meant for the user become a message and exit code 2."""
    _silence_native_libraries()
    try:
        app()
    except LivespotError as error:
        err.print(f"[red]livespot:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(Exit.UNUSABLE)
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)


def _silence_native_libraries() -> None:
    """MediaPipe and FFmpeg write notes straight to file descriptor 2: it leads nowhere, our words take another way.

    LIVESPOT_NATIVE_LOG=1 leaves it alone.
    """
    if os.environ.get("LIVESPOT_NATIVE_LOG") == "1":
        return
    sys.stderr = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace", buffering=1)
    with Path(os.devnull).open("wb") as null:
        os.dup2(null.fileno(), 2)


def _settings(file: Path | None, flags: dict[str, Any], more: list[str] | None) -> config.Settings:
    """Settings of a file, then of flags; each is checked for itself, so that a message names the right one."""
    values: dict[str, Any] = {}
    if file is not None:
        values = config.load(file)
        config.check(values, str(file))
    flags = flags | _assignments(more or [])
    if flags.get("infer.model") and not (flags.get("method") or "method" in values):
        flags["method"] = "network"  # who gives a network wants to see it work
    chosen = config.check(config.override(values, flags), "command line")
    if flags.get("infer.model") and chosen.method not in config.NETWORK_METHODS:
        raise SettingsError(f"the method {chosen.method} has no network: leave --model out, or give --method both")
    return chosen


def _check_live(settings: config.Settings) -> None:
    """Raises SettingsError where nothing would be told before the end."""
    if settings.method in config.WHOLE_VIDEO_METHODS:
        raise SettingsError(f"the method {settings.method} judges whole videos: use it with `livespot spot`")
    if settings.motion.lookahead_s == float("inf"):
        raise SettingsError("motion.lookahead_s is inf, which waits for an end: leave it out, or give seconds")


def _named(settings: config.Settings, scorer: "Scorer | None") -> str:
    """The method, and the network where it has one."""
    return f"method {settings.method}" + (f", {scorer.name}" if scorer else "")


def _assignments(texts: list[str]) -> dict[str, Any]:
    """--set section.key=value, values as YAML reads them."""
    chosen = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or "." not in key:
            raise SettingsError(f"--set {text}: expected section.key=value, such as motion.micro_threshold=3.5")
        try:
            chosen[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise SettingsError(f"--set {text}: {value} is not YAML; quotes make it a text") from None
    return chosen


def _check_output(file: Path | None, formats: Collection[str] = ()) -> None:
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
def _train_extra() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise SettingsError(f"{error.name} is not installed: pip install 'livespot[train]'") from None


def _print_json(value: Any) -> None:
    print(json.dumps(value), flush=True)


def _tell(message: dict[str, Any], as_json: bool, all_kinds: bool = False) -> None:
    """One message on standard output: JSON, or words for what a person wants to know."""
    if as_json:
        _print_json(message)
    elif message["kind"] == "event":
        if message["phase"] == "close" or all_kinds:
            out.print(_event_in_words(message), highlight=False, soft_wrap=True)
    elif all_kinds or message["kind"] == "gap" or message.get("detail"):
        out.print(_in_words(message), style="dim", highlight=False)


def _event_in_words(event: dict[str, Any]) -> str:
    style = tables.STYLES[event["type"]]
    what = f"[{style}]{event['type']}[/]  {event['stream']} face {event['face']}"
    where = "".join(f"  {escape(region)}" for region in event.get("regions", ())[:2])
    if event["phase"] != "close":
        return f"{event['onset_s']:9.2f} s  {what}  {event['phase']}  score {event['confidence']:.2f}{where}"
    cut = "  cut off" if event["truncated"] else ""
    span = f"{event['onset_s']:9.2f} to {event['offset_s']:.2f} s, peak {event['apex_s']:.2f}"
    return f"{span}  {what}  score {event['confidence']:.2f}{cut}{where}"


def _in_words(message: dict[str, Any]) -> str:
    kind, stream = message["kind"], escape(message["stream"])
    if kind == "gap":
        length_s = message["to_s"] - message["from_s"]
        return f"{message['from_s']:9.2f} s  {stream}: not watched for {length_s:.2f} s, {message['reason']}"
    if kind == "status":
        return f"{message['t_s']:9.2f} s  {stream}: {message['state']}  {escape(message['detail'])}".rstrip()
    if kind == "score":
        return (
            f"{message['t_s']:9.2f} s  {stream} face {message['face']}: {message['micro']:.2f} {message['macro']:.2f}"
        )
    return f"{'':9}    {stream}: up for {message['uptime_s']:.0f} s"


def _report(findings: "Findings", as_json: bool) -> None:
    if as_json:
        for row in tables.rows(findings.events):
            _print_json(row)
    elif findings.events:
        out.print(tables.to_rich(findings.events))
    if not findings.frames_with_face:
        err.print(f"[yellow]no face was found in {_count(findings.frames, 'frame')}[/]: no events")
    else:
        err.print(
            f"{_count(len(findings.events), 'event')} in {findings.last_s:.1f} s, "
            f"{_count(findings.frames, 'frame')}, {findings.frames_with_face} with a face"
        )
    for note in findings.notes:
        err.print(f"[yellow]{escape(note)}[/]")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _progress() -> Progress:
    """Bars on standard error, and only where somebody looks."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=err, transient=True, disable=not err.is_terminal,
    )  # fmt: skip


@contextmanager
def _status_line(as_json: bool) -> Iterator[Callable[["Meter", int], None]]:
    """A line below the events that is kept up to date, where somebody looks and no JSON is in its way."""
    screen = out if out.is_terminal else err
    if not screen.is_terminal or (as_json and out.is_terminal):
        yield lambda meter, dropped: None  # noqa: ARG005
        return
    with Live(
        "waiting for the first frame", console=screen, transient=True, redirect_stdout=False, redirect_stderr=False
    ) as line:

        def update(meter: "Meter", dropped: int) -> None:
            faces = sum(meter.faces.values())
            line.update(
                f"{meter.fps:5.1f} fps   latency {meter.latency_ms():3.0f} ms   "
                f"faces {faces}   events {meter.events}   dropped {dropped}"
            )

        yield update
