"""What a run tells, in words or JSON: events as they come, counts, a line that is kept up to date."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.live import Live
from rich.markup import escape

from livespot import tables
from livespot.cli.common import counted, err, out, print_json

if TYPE_CHECKING:
    from livespot.meter import Meter
    from livespot.publish.messages import Recording
    from livespot.spotting import Findings


def tell(message: dict[str, Any], as_json: bool, all_kinds: bool = False) -> None:
    """One message on standard output: JSON, or words for what a person wants to know."""
    if as_json:
        print_json(message)
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
    if kind == "lost":
        return f"{'':9}    {stream}: lost {message['of']} {message['first']} to {message['last']}"
    if kind == "restart":
        return f"{'':9}    {message.get('upstream', 'livespot')} was started anew"
    return f"{'':9}    {stream}: up for {message['uptime_s']:.0f} s"


def report(findings: "Findings", as_json: bool) -> None:
    """What was spotted in a recording: events on standard output, counts and notes on standard error."""
    if as_json:
        for row in tables.rows(findings.events):
            print_json(row)
    elif findings.events:
        out.print(tables.to_rich(findings.events))
    if not findings.frames_with_face:
        err.print(f"[yellow]no face was found in {counted(findings.frames, 'frame')}[/]: no events")
    else:
        err.print(
            f"{counted(len(findings.events), 'event')} in {findings.last_s:.1f} s, "
            f"{counted(findings.frames, 'frame')}, {findings.frames_with_face} with a face"
        )
    for note in findings.notes:
        err.print(f"[yellow]{escape(note)}[/]")


def tell_recording(recording: "Recording | None") -> None:
    """Where it is, and what is not in it."""
    if recording:
        err.print(f"recorded in {escape(str(recording.file))}", highlight=False, soft_wrap=True)
    if recording and recording.lost:
        reason = f": {escape(recording.error)}" if recording.error else ""
        err.print(f"[red]{counted(recording.lost, 'message')} could not be recorded[/]{reason}", soft_wrap=True)


@contextmanager
def status_line(as_json: bool) -> Iterator[Callable[["Meter", int], None]]:
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
