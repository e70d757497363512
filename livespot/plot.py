"""A timeline as a picture: scores, thresholds, events, gaps, and what was shown where that is known.

Time runs in strips, one below the other like lines of text, so that a micro-expression keeps some width in a long
recording. Colours are of the Okabe-Ito set, and class is also told by shape.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from livespot.errors import LivespotError
from livespot.files import replacing
from livespot.records import Event, ExpressionType, Gap

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: dict[ExpressionType, str] = {"micro": "#D55E00", "macro": "#0072B2"}
MARKERS: dict[ExpressionType, str] = {"micro": "v", "macro": "o"}
INK, FAINT_INK = "#262626", "#8c8c8c"

STRIP_S, MAX_STRIPS = 120.0, 30
"""Longer recordings take several strips of equal length; very long ones longer strips."""

LAST_IN_SECONDS_S = 60.0
"""Times up to here are told as 12 s, in longer recordings as 2:05."""

PAUSE_FRAMES = 5
"""A curve is broken where scores are this many usual intervals apart."""

WIDTH_IN, STRIP_IN, LONE_STRIP_IN, MARGIN_IN = 12.0, 1.75, 2.5, 1.1

DPI, MAX_HEIGHT_PX = 120, 30_000
"""With hundreds of faces the resolution gives way: the renderer ends at 65,536 px."""

FORMATS = (".png", ".svg", ".pdf")

SCORES_TOP, SPOTTED, SHOWN = 1.04, (1.10, 0.09), (1.24, 0.09)
"""Where the scores end; bottom and height of the lanes above them."""

THRESHOLD_STYLE: dict[str, Any] = {"linewidth": 0.9, "linestyle": (0, (5, 3))}
GAP_STYLE: dict[str, Any] = {"facecolor": "#f0f0f0", "edgecolor": "#c4c4c4", "hatch": "////", "linewidth": 0}


@dataclass(frozen=True)
class Trace:
    """Scores of one face over time, all arrays float64 (N,)."""

    source: str
    face: int
    t_s: NDArray[np.float64]
    """Strictly increasing."""
    micro: NDArray[np.float64]
    """[0, 1]."""
    macro: NDArray[np.float64]
    micro_smoothed: NDArray[np.float64]
    """As the low-pass gave it at `t_s`: it belongs `delay_s` earlier, and is drawn there."""
    macro_smoothed: NDArray[np.float64]
    delay_s: float = 0.0

    def curves(self, kind: ExpressionType) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Raw and smoothed scores of a class."""
        return (self.micro, self.micro_smoothed) if kind == "micro" else (self.macro, self.macro_smoothed)

    def between(self, from_s: float, to_s: float) -> "Trace":
        """The part from `from_s` to `to_s`, and as much after as the smoothed scores are late."""
        part = slice(*np.searchsorted(self.t_s, (from_s, to_s + self.delay_s)))
        return replace(
            self,
            t_s=self.t_s[part],
            micro=self.micro[part],
            macro=self.macro[part],
            micro_smoothed=self.micro_smoothed[part],
            macro_smoothed=self.macro_smoothed[part],
        )


@dataclass(frozen=True)
class Shown:
    """An expression that is known to be there, over [onset_s, offset_s)."""

    type: ExpressionType
    onset_s: float
    apex_s: float
    offset_s: float


def timeline(
    path: Path,
    traces: Sequence[Trace],
    events: Sequence[Event],
    thresholds: tuple[float, float],
    truth: Sequence[Shown] | None = None,
    gaps: Sequence[Gap] = (),
    title: str = "",
) -> None:
    """Draw the closed `events` over the scores of their faces into a picture, by the suffix of `path`.

    `thresholds` are those of micro and macro; `truth` adds a lane of what was shown. Raises LivespotError where the
    picture cannot be written.
    """
    if path.suffix.lower() not in FORMATS:
        raise LivespotError(f"{path} has no known format: end its name in {', '.join(FORMATS)}")
    closed = [event for event in events if event.offset_s is not None]
    strips = list(_strips(traces))
    figure = _figure(len(strips))
    for place, (trace, from_s, to_s) in enumerate(strips):
        axes = figure.add_subplot(len(strips), 1, place + 1)
        _draw_frame(axes, trace, from_s, to_s, with_truth=truth is not None)
        _draw_gaps(axes, [gap for gap in gaps if gap.source == trace.source and gap.face in (None, trace.face)])
        _draw_scores(axes, trace, thresholds)
        _draw_events(axes, [event for event in closed if (event.source, event.face) == (trace.source, trace.face)])
        _draw_bars(axes, truth or (), SHOWN)
    _write_heading(figure, title, _summary(closed, truth))
    _write_legend(figure, with_gaps=bool(gaps))
    with replacing(path) as part:
        figure.savefig(part, dpi=min(DPI, MAX_HEIGHT_PX / figure.get_size_inches()[1]))


def _strips(traces: Sequence[Trace]) -> Iterator[tuple[Trace, float, float]]:
    """(part of a trace, from, to) of each strip, in seconds; a face has strips only where it was watched."""
    watched = [trace for trace in traces if len(trace.t_s)]
    start_s = min((trace.t_s[0] for trace in watched), default=0.0)
    length_s = max(max((trace.t_s[-1] for trace in watched), default=0.0) - start_s, 1.0)
    count = min(math.ceil(length_s / STRIP_S), MAX_STRIPS)
    edges_s = np.linspace(start_s, start_s + length_s, count + 1).tolist()
    for trace in watched:
        for from_s, to_s in pairwise(edges_s):
            part = trace.between(from_s, to_s)
            if len(part.t_s):
                yield part, from_s, to_s


def _figure(strips: int) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height_in = MARGIN_IN + (STRIP_IN * strips if strips > 1 else LONE_STRIP_IN)
    figure = Figure(figsize=(WIDTH_IN, height_in), facecolor="white")
    FigureCanvasAgg(figure)
    figure.subplots_adjust(left=0.085, right=0.98, top=1 - 0.72 / height_in, bottom=0.38 / height_in, hspace=0.32)
    if not strips:
        figure.text(0.5, 0.4, "no face was watched", ha="center", fontsize=11, color=FAINT_INK)
    return figure


def _draw_frame(axes: "Axes", trace: Trace, from_s: float, to_s: float, with_truth: bool) -> None:
    lanes = {"spotted": SPOTTED} | ({"shown": SHOWN} if with_truth else {})
    axes.set_xlim(from_s, to_s)
    axes.set_ylim(-0.02, max(bottom + height for bottom, height in lanes.values()) + 0.02)
    axes.set_yticks([0, 0.5, 1] + [bottom + height / 2 for bottom, height in lanes.values()])
    axes.set_yticklabels(["0", "0.5", "1", *lanes], fontsize=8)
    axes.set_ylabel(f"{trace.source}\nface {trace.face}", fontsize=8.5, color=INK)
    axes.tick_params(length=2.5, labelsize=8, colors=INK)
    axes.xaxis.set_major_formatter((lambda value_s, _: f"{value_s:g} s") if to_s <= LAST_IN_SECONDS_S else _clock)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT_INK)
    axes.axhline(SCORES_TOP, color=FAINT_INK, linewidth=0.4)


def _draw_gaps(axes: "Axes", gaps: Sequence[Gap]) -> None:
    spans = [(gap.from_s, gap.to_s - gap.from_s) for gap in gaps]
    axes.broken_barh(spans, (-0.02, 2.0), zorder=0.5, **GAP_STYLE)


def _draw_scores(axes: "Axes", trace: Trace, thresholds: tuple[float, float]) -> None:
    for kind, threshold in zip(COLOURS, thresholds, strict=True):
        raw, smoothed = trace.curves(kind)
        axes.axhline(threshold, color=COLOURS[kind], **THRESHOLD_STYLE)
        if not np.array_equal(raw, smoothed):  # motion has no other scores
            axes.plot(*_broken(trace.t_s, raw), color=COLOURS[kind], linewidth=0.6, alpha=0.35)
        axes.plot(*_broken(trace.t_s - trace.delay_s, smoothed), color=COLOURS[kind], linewidth=1.5)


def _draw_events(axes: "Axes", events: Sequence[Event]) -> None:
    told = [
        Shown(event.type, event.onset_s, event.apex_s, event.offset_s) for event in events if event.offset_s is not None
    ]
    _draw_bars(axes, told, SPOTTED)
    for kind, colour in COLOURS.items():
        spans = [(shown.onset_s, shown.offset_s - shown.onset_s) for shown in told if shown.type == kind]
        axes.broken_barh(spans, (-0.02, SCORES_TOP + 0.02), facecolor=colour, alpha=0.13, linewidth=0)
        apexes = [(event.apex_s, event.confidence) for event in events if event.type == kind]
        axes.plot(*np.reshape(apexes, (-1, 2)).T, MARKERS[kind], color=colour, markersize=7, markeredgecolor="white")


def _draw_bars(axes: "Axes", expressions: Sequence[Shown], lane: tuple[float, float]) -> None:
    """A bar with a notch at the apex; its edge keeps the shortest expression visible in the longest strip."""
    for kind, colour in COLOURS.items():
        spans = [(shown.onset_s, shown.offset_s - shown.onset_s) for shown in expressions if shown.type == kind]
        axes.broken_barh(spans, lane, facecolor=colour, edgecolor=colour, linewidth=1)
    apexes_s = [shown.apex_s for shown in expressions]
    middle = np.full(len(apexes_s), lane[0] + lane[1] / 2)
    axes.plot(apexes_s, middle, "|", color="white", markersize=3.5, markeredgewidth=0.9)


def _summary(events: Sequence[Event], truth: Sequence[Shown] | None) -> str:
    spotted = f"{_count([event.type for event in events])} spotted"
    return spotted if truth is None else f"{spotted}, {_count([shown.type for shown in truth])} shown"


def _count(kinds: list[ExpressionType]) -> str:
    return f"{kinds.count('micro')} micro and {kinds.count('macro')} macro"


def _write_heading(figure: "Figure", title: str, summary: str) -> None:
    height_in = figure.get_size_inches()[1]
    figure.text(0.012, 1 - 0.30 / height_in, title, fontsize=13, fontweight="bold", color=INK)
    figure.text(0.012, 1 - 0.52 / height_in, summary, fontsize=9.5, color="#595959")


def _write_legend(figure: "Figure", with_gaps: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    height_in = figure.get_size_inches()[1]
    handles: list[Artist] = [
        Line2D([], [], color=colour, marker=MARKERS[kind], markeredgecolor="white", label=f"{kind} score and apex")
        for kind, colour in COLOURS.items()
    ]
    handles.append(Line2D([], [], color=FAINT_INK, label="threshold", **THRESHOLD_STYLE))
    if with_gaps:
        handles.append(Patch(label="not watched", **GAP_STYLE))
    figure.legend(
        handles=handles,
        loc="upper right",
        bbox_to_anchor=(0.99, 1 - 0.1 / height_in),
        ncols=len(handles),
        frameon=False,
        fontsize=8.5,
        handlelength=1.6,
        columnspacing=1.4,
        labelcolor=INK,
    )


def _broken(t_s: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The curve with a NaN in each pause, so that no line is drawn across what was not watched."""
    steps_s = np.diff(t_s)
    if not len(steps_s):
        return t_s, values
    pauses = np.flatnonzero(steps_s > PAUSE_FRAMES * np.median(steps_s)) + 1
    return np.insert(t_s, pauses, np.nan), np.insert(values, pauses, np.nan)


def _clock(value_s: float, _: float) -> str:
    minutes, seconds = divmod(round(value_s), 60)
    return f"{minutes}:{seconds:02d}"
