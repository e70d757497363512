"""Commands that watch: cameras, recordings, the stream of another livespot, the virtual camera."""

import time
from contextlib import ExitStack
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from livespot import config, tables
from livespot.cli.common import (
    ConfigOption,
    EngineOption,
    Exit,
    JsonOption,
    MaxFacesOption,
    MethodOption,
    ModelOption,
    PlotOption,
    RecordOption,
    SetOption,
    SourceOption,
    check_output,
    chosen_settings,
    counted,
    err,
    examples,
    out,
    print_json,
    progress_bars,
)
from livespot.cli.words import report, status_line, tell, tell_recording
from livespot.errors import SettingsError

if TYPE_CHECKING:
    from livespot.engines import ChosenScorer

MARKS = {"ok": "[green]ok[/]", "warning": "[yellow]note[/]", "failed": "[red]failed[/]"}
"""How the doctor's findings begin."""

commands = typer.Typer()


@commands.command(
    epilog=examples(
        "livespot run --source 0 --show",
        "livespot run -s rtsp://10.0.0.7/main -s rtsp://10.0.0.8/main",
        "livespot run --source 0 --record recordings",
        "livespot run --source 0 --method motion",
        "livespot run --source interview.mp4 --realtime",
        "livespot run --source 0 --metrics 127.0.0.1:9464",
        "livespot run --config configs/live.yaml --json",
    )
)
def run(
    source: SourceOption = None,
    config_file: ConfigOption = None,
    settings: SetOption = None,
    method: MethodOption = None,
    model: ModelOption = None,
    engine: EngineOption = None,
    max_faces: MaxFacesOption = None,
    endpoint: Annotated[str | None, typer.Option(help="Where events are published, tcp://127.0.0.1:5556.")] = None,
    metrics: Annotated[
        str | None, typer.Option(help="Serve metrics for Prometheus here, 127.0.0.1:9464; off where left out.")
    ] = None,
    scores: Annotated[bool, typer.Option("--scores", help="Publish the scores of every frame as well.")] = False,
    insecure: Annotated[bool, typer.Option("--insecure", help="Let other machines connect without a key.")] = False,
    record: RecordOption = None,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="Recordings play at their own speed, as if they were cameras.")
    ] = False,
    show: Annotated[bool, typer.Option("--show", help="A window with face, crop, scores and events.")] = False,
    duration: Annotated[float | None, typer.Option(min=0, help="End after so many seconds.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Watch cameras and publish what is spotted. Ctrl-C ends it in good order."""
    flags = {
        "sources": tuple(source) if source else None,
        "method": method,
        "infer.model": model,
        "infer.engine": engine,
        "align.max_faces": max_faces,
        "publish.endpoint": endpoint,
        "publish.scores": scores or None,
        "publish.insecure": insecure or None,
        "metrics.endpoint": metrics,
        "metrics.insecure": insecure or None,
        "record.folder": record,
        "capture.realtime": realtime or None,
    }
    chosen = chosen_settings(config_file, flags, settings)
    if not chosen.sources:
        raise SettingsError("no source is given: --source 0 for the first webcam, --source demo:// without a camera")
    _check_live(chosen)
    from livespot.capture import open_source, unique_names
    from livespot.live import Windows, publisher_of, serve, stopping_on_signals
    from livespot.measuring import Measuring, exporter_of
    from livespot.meter import Meter
    from livespot.pipeline import Pipeline
    from livespot.processes import settle
    from livespot.shards import watching
    from livespot.spotting import scoring

    makes = [partial(open_source, one, chosen.capture) for one in unique_names(chosen.sources)]
    names = [make().name for make in makes]
    publish, exporter = chosen.publish, exporter_of(chosen.metrics)
    meter = Meter.of(names, time.monotonic())
    with ExitStack() as stack:
        publisher = stack.enter_context(publisher_of(publish, chosen.record))
        if exporter:
            stack.enter_context(exporter)
        scorer = stack.enter_context(scoring(chosen))
        pipeline = watching(chosen, makes, scorer, pictures=show)
        stack.enter_context(pipeline)
        stack.enter_context(stopping_on_signals(pipeline))
        windows = None
        if isinstance(pipeline, Pipeline) and show:
            windows = stack.enter_context(Windows(pipeline.thresholds, names, chosen.align.max_faces))
        err.print(f"publishing on [bold]{escape(publisher.endpoint)}[/], {_named(chosen, scorer)}", soft_wrap=True)
        if exporter:
            err.print(f"metrics for Prometheus at [bold]{escape(exporter.url)}[/]", soft_wrap=True)
        stack.enter_context(Measuring(meter, pipeline, publisher, exporter))
        status = stack.enter_context(status_line(as_json))
        settle()
        scores = publish.scores or bool(chosen.record.folder and chosen.record.scores)
        for turn in serve(pipeline, publisher, scores, duration, meter):
            for message in turn.messages:
                tell(message, as_json)
            status(turn.meter, pipeline.dropped)
            if windows and not windows.show(turn):
                pipeline.stop()
    counts = (counted(meter.frames, "frame"), counted(meter.events, "event"), counted(meter.gaps, "gap"))
    err.print(f"{', '.join(counts)}, {counted(pipeline.dropped, 'frame')} dropped")
    tell_recording(publisher.recording)


@commands.command(
    epilog=examples(
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
    engine: EngineOption = None,
    max_faces: MaxFacesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Spot expressions in a recording, as fast as this machine allows.

    Ctrl-C ends it early: what was found until then is written, and the exit code is 130.
    """
    flags = {"method": method, "infer.model": model, "infer.engine": engine, "align.max_faces": max_faces}
    chosen = chosen_settings(config_file, flags, settings)
    from livespot.live import stopping_on_signals
    from livespot.overlay import CODECS, Overlay, VideoWriter
    from livespot.pipeline import Pipeline
    from livespot.plot import FORMATS, timeline
    from livespot.records import Event, Scores
    from livespot.spotting import Findings, recording, scoring, with_hindsight

    check_output(out_file, tables.FORMATS)
    check_output(plot, FORMATS)
    check_output(overlay, CODECS)
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
        if scorer:
            err.print(_named(chosen, scorer), soft_wrap=True)
        drawing = Overlay(pipeline.thresholds, chosen.align.max_faces) if overlay else None
        writer: VideoWriter | None = None
        progress = stack.enter_context(progress_bars())
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
    report(findings, as_json)
    if out_file:
        tables.write(out_file, findings.events)
    if plot:
        traces = findings.traces(pipeline.delay_s)
        timeline(plot, traces, findings.events, pipeline.thresholds, gaps=findings.gaps, title=source.name)
    if pipeline.stopped:
        err.print("[yellow]interrupted[/]: only what came before is told")
        raise typer.Exit(Exit.INTERRUPTED)


@commands.command(epilog=examples("livespot demo", "livespot demo --seconds 60 --seed 7 --portrait me.jpg"))
def demo(
    seconds: Annotated[float, typer.Option(min=2, help="How long the virtual camera plays.")] = 30.0,
    out_file: Annotated[Path, typer.Option("--out", "-o", help="Timeline: .png, .svg or .pdf.")] = Path("timeline.png"),
    portrait: Annotated[Path | None, typer.Option(help="A picture of a face to animate instead.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Other expressions at other times.")] = 0,
    method: MethodOption = None,
    model: ModelOption = None,
    engine: EngineOption = None,
    record: RecordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Watch a virtual camera whose face moves at known times, and compare. No camera, no GPU."""
    flags = {"method": method, "infer.model": model, "infer.engine": engine, "publish.endpoint": "tcp://127.0.0.1:*"}
    chosen = chosen_settings(None, flags, None)
    _check_live(chosen)
    from livespot.capture.virtual import ASTRONAUT, VirtualCamera
    from livespot.demo import HEARTBEAT_S, Listener, compare, to_rich
    from livespot.live import serve, stopping_on_signals
    from livespot.pipeline import Pipeline
    from livespot.plot import FORMATS, Shown, timeline
    from livespot.publish.zmq import Publisher
    from livespot.spotting import Findings, scoring

    check_output(out_file, FORMATS)
    camera = VirtualCamera(portrait or ASTRONAUT, seed=seed, seconds=seconds)
    findings = Findings()
    with ExitStack() as stack:
        publisher = stack.enter_context(Publisher(chosen.publish.endpoint, HEARTBEAT_S, record=record))
        scorer = stack.enter_context(scoring(chosen))
        pipeline = stack.enter_context(Pipeline(chosen, [camera], scorer))
        stack.enter_context(stopping_on_signals(pipeline))
        listener = stack.enter_context(Listener(publisher))
        err.print(f"a virtual camera plays for {seconds:g} s, published on [bold]{escape(publisher.endpoint)}[/]")
        err.print(_named(chosen, scorer), soft_wrap=True)
        with progress_bars() as progress:
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
    in_part = sum(line.shown is not None and line.spotted is not None and not line.hit for line in lines)
    if as_json:
        counts = {"shown": len(truth), "spotted": hits, "in_part": in_part, "false_alarms": alarms}
        print_json(counts | {"timeline": str(out_file)})
    else:
        out.print(to_rich(lines))
        out.print()
        out.print(
            f"{hits} of {len(truth)} spotted, {counted(alarms, 'false alarm')}; timeline: {escape(str(out_file))}"
        )
    tell_recording(publisher.recording)


@commands.command(epilog=examples("livespot doctor", "livespot doctor --json"))
def doctor(as_json: JsonOption = False) -> None:
    """Say what works on this machine, and for what does not the reason and the cure."""
    from dataclasses import asdict

    from livespot.doctor import examine, exit_code

    findings = examine()
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        table = Table.grid(padding=(0, 2, 0, 0))
        for finding in findings:
            cure = f"\n[dim]{escape(finding.cure)}[/]" if finding.cure else ""
            table.add_row(MARKS[finding.state], f"[bold]{finding.what}[/]", escape(finding.found) + cure)
        out.print(table)
    raise typer.Exit(exit_code(findings))


def _check_live(settings: config.Settings) -> None:
    """Raises SettingsError where nothing would be told before the end."""
    if settings.method in config.WHOLE_VIDEO_METHODS:
        raise SettingsError(f"the method {settings.method} judges whole videos: use it with `livespot spot`")
    if settings.motion.lookahead_s == float("inf"):
        raise SettingsError("motion.lookahead_s is inf, which waits for an end: leave it out, or give seconds")


def _named(settings: config.Settings, scorer: "ChosenScorer | None") -> str:
    """The method, and the network where it has one: what runs it, and why nothing faster does."""
    if scorer is None:
        return f"method {settings.method}"
    return "\n".join((f"method {settings.method}, {scorer.name}", *map(escape, scorer.why)))
