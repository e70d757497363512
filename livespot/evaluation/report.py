"""An evaluation as one page that any browser shows, without a network: score, curve, tables, a timeline per video.

Every video has a strip for each two minutes in which there is something to see, with four lanes:

    labelled  macro  ████H████            H hit, M missed; F false, - not counted by the rule
    labelled  micro              █M█
    predicted micro       █F█
    predicted macro   ████H███

A result is told by letter, by fill and by colour. Timelines are drawn by the browser once they come into view, and a
field above them finds a video, so that a page of hundreds stays usable.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from livespot.errors import LivespotError
from livespot.evaluation.matching import HIT_IOU, Counts
from livespot.evaluation.scores import GROUPS, Evaluation, Group, Result, Scored, Tally, subjects
from livespot.evaluation.summary import (
    ERROR_HEADINGS,
    SCORE_HEADINGS,
    error_row,
    frames_in_words,
    notes,
    score_row,
)
from livespot.files import replacing
from livespot.records import ExpressionType

PAGE = "index.html"

LETTERS: dict[Result, str] = {"TP": "H", "FN": "M", "FP": "F", "-": "–"}
NAMES: dict[Result, str] = {"TP": "hit", "FN": "missed", "FP": "false", "-": "not counted"}
MARKS: dict[Result, str] = {"TP": "h", "FN": "m", "FP": "f", "-": "n"}
"""Classes of the style sheet, short, since a page has thousands."""

COLOURS: dict[Group, str] = {"micro": "#D55E00", "macro": "#0072B2", "overall": "#262626"}
DASHES: dict[Group, str] = {"micro": "7 4", "macro": "2 3", "overall": "none"}

STRIP_S, MAX_STRIPS = 120.0, 30
"""Longer videos take several strips of equal length; very long ones longer strips."""

USUAL_FPS = 30.0
"""Of a video that is not in the labels."""

LANES: tuple[tuple[bool, ExpressionType], ...] = ((True, "macro"), (True, "micro"), (False, "micro"), (False, "macro"))
"""(labelled, class), from the top."""
LANE_PX, BAR_PX, AXIS_PX = 16, 13, 16

CURVE_PX = (560, 280)
MARGINS_PX = (46, 12, 14, 34)
"""Left, right, top, bottom of the curve."""


def write(folder: Path, evaluation: Evaluation) -> Path:
    """Write the page, whole or not at all, into `folder`, which is made where it is missing. Raises LivespotError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LivespotError(f"{folder} cannot be made: {error.strerror or error}: give another folder") from error
    path = folder / PAGE
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in page(evaluation))
    return path


def page(evaluation: Evaluation) -> Iterator[str]:
    """The page, piece by piece."""
    title = f"livespot evaluate, rule {evaluation.rule_name}"
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{escape(title)}</title><style>{_asset('report.css')}</style></head><body><h1>{escape(title)}</h1>"
    yield f"<p>{escape(evaluation.rule.says)}. Used by {escape(evaluation.rule.users)}.</p>"
    yield from (f'<p class="note">{escape(note)}</p>' for note in notes(evaluation))
    yield "<h2>Score</h2>"
    yield from _score(evaluation)
    yield "<h2>F1 against the overlap that makes a hit</h2>"
    yield _curve(evaluation)
    yield from _curve_table(evaluation)
    yield "<h2>Further figures</h2>"
    yield from _further(evaluation)
    yield "<h2>Subjects</h2>"
    known = ((name, tally) for name, tally in subjects(evaluation.videos).items() if name)
    yield from _table("subject", ((name, escape(name), tally) for name, tally in known))
    yield "<h2>Videos</h2>"
    rows = ((one.video.name, _link(place, one), one.tally) for place, one in enumerate(evaluation.videos))
    yield from _table("video", rows)
    yield "<h2>Timelines</h2>"
    yield _legend()
    for place, one in enumerate(evaluation.videos):
        yield from _timeline(place, one)
    yield f"<script>{_asset('report.js')}</script></body></html>"


def _asset(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _score(evaluation: Evaluation) -> Iterator[str]:
    yield f"<table><thead><tr>{_heads(SCORE_HEADINGS)}</tr></thead><tbody>"
    yield from (_row(group, score_row(evaluation, group)) for group in GROUPS)
    yield "</tbody></table>"


def _curve_table(evaluation: Evaluation) -> Iterator[str]:
    yield f"<table><thead><tr>{_heads(('IoU', *(f'{iou:.1f}' for iou, _ in evaluation.curve)))}</tr></thead><tbody>"
    for group in GROUPS:
        yield _row(group, [f"{tally.of(group).f1:.4f}" for _, tally in evaluation.curve])
    yield "</tbody></table>"


def _further(evaluation: Evaluation) -> Iterator[str]:
    yield f"<p>{frames_in_words(evaluation)}</p>"
    yield "<p>Onset and offset of hits, predicted minus labelled, in frames:</p>"
    yield f"<table><thead><tr>{_heads(ERROR_HEADINGS)}</tr></thead><tbody>"
    yield from (_row(group, error_row(evaluation.errors[group])) for group in GROUPS)
    yield "</tbody></table>"


def _table(what: str, rows: Iterable[tuple[str, str, Tally]]) -> Iterator[str]:
    """Counts of each row; `rows` hold a name, what is shown for it, and its counts."""
    heads = [what, *(f"{group} {result}" for group in GROUPS for result in ("TP", "FP", "FN")), "F1"]
    yield f'<div class="wide"><table class="sortable"><thead><tr>{_heads(heads)}</tr></thead><tbody>'
    for name, shown, tally in rows:
        counts = [number for group in GROUPS for number in _numbers(tally.of(group))]
        yield _row(shown, [*counts, f"{tally.overall.f1:.3f}"], name)
    yield "</tbody></table></div>"


def _heads(names: Iterable[str]) -> str:
    return "".join(f'<th scope="col">{escape(name)}</th>' for name in names)


def _row(shown: str, cells: Iterable[str], name: str = "") -> str:
    data = f' data-name="{escape(name.lower())}"' if name else ""
    return f'<tr{data}><th scope="row">{shown}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _link(place: int, one: Scored) -> str:
    return f'<a href="#v{place}">{escape(one.video.name)}</a>'


def _numbers(counts: Counts) -> tuple[str, str, str]:
    return str(counts.tp), str(counts.fp), str(counts.fn)


def _curve(evaluation: Evaluation) -> str:
    """F1 of each class over the threshold, told apart by dashes, too."""
    width, height = CURVE_PX
    left, right, top, bottom = MARGINS_PX
    highest = max(tally.of(group).f1 for _, tally in evaluation.curve for group in GROUPS)
    ceiling = max(math.ceil(highest * 10), 1) / 10

    def x_px(iou: float) -> float:
        return left + (iou - 0.1) / 0.8 * (width - left - right)

    def y_px(f1: float) -> float:
        return height - bottom - f1 / ceiling * (height - top - bottom)

    parts = [f'<svg class="curve" viewBox="0 0 {width} {height}" role="img" aria-label="F1 against the IoU threshold">']
    for share in (0.0, 0.5, 1.0):
        y = y_px(share * ceiling)
        parts.append(f'<path class="grid" d="M{left} {y:.1f}H{width - right}"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{share * ceiling:.2f}</text>')
    parts.append(f'<path class="rule" d="M{x_px(HIT_IOU):.1f} {top}V{height - bottom}"/>')
    for iou, _ in evaluation.curve:
        parts.append(f'<text x="{x_px(iou):.1f}" y="{height - 16}" text-anchor="middle">{iou:.1f}</text>')
    for group in GROUPS:
        points = " ".join(f"{x_px(iou):.1f},{y_px(tally.of(group).f1):.1f}" for iou, tally in evaluation.curve)
        style = f'stroke="{COLOURS[group]}" stroke-dasharray="{DASHES[group]}"'
        parts.append(f'<polyline class="line" points="{points}" {style}/>')
    return "".join((*parts, "</svg>", *map(_key, GROUPS)))


def _key(group: Group) -> str:
    style = f'stroke="{COLOURS[group]}" stroke-dasharray="{DASHES[group]}"'
    line = f'<path class="line" d="M0 6H36" {style}/>'
    return f'<span class="key"><svg width="36" height="12">{line}</svg> {group}</span>'


def _legend() -> str:
    keys = "".join(
        f'<span class="key"><svg width="22" height="{LANE_PX}">{_bar(result, 2.0, 96.0, 0, "")}</svg> {name}</span>'
        for result, name in NAMES.items()
    )
    finder = '<label>Find a video <input type="search" id="find" placeholder="part of its name"></label>'
    wrong = '<label><input type="checkbox" id="wrong"> only with something missed or false</label>'
    keys += "Stretches of two minutes in which nothing was labelled or predicted are left out."
    return f'<p>{keys}</p><p class="finder">{finder} {wrong} <output id="shown"></output></p>'


def _timeline(place: int, one: Scored) -> Iterator[str]:
    video, counts = one.video, one.tally.overall
    facts = [f"subject {video.subject}, {video.fps:g} frames/s"] if video.fps else ["not in the labels"]
    facts.append(f"{counts.tp} hit, {counts.fn} missed, {counts.fp} false")
    wrong = ' data-wrong="1"' if counts.fn or counts.fp else ""
    name = f'data-name="{escape(video.name.lower())}"'
    yield f'<section class="video" id="v{place}" {name}{wrong}>'
    yield f"<h3>{escape(video.name)} <small>{escape('; '.join(facts))}</small></h3>"
    bars = list(_bars(one))
    for begin, end in _strips(one):
        if inside := [bar for bar in bars if bar[2] < end and bar[3] > begin]:
            yield from _strip(one, begin, end, inside)
    yield "</section>"


Bar = tuple[Result, int, int, int, str]
"""Result, lane, first frame, frame after the last, words."""


def _bars(one: Scored) -> list[Bar]:
    """Of all that was labelled and predicted, once each; hits come last, so that nothing is drawn over them."""
    found: dict[Bar, None] = {}
    for outcome in one.outcomes:
        for labelled, span in ((True, outcome.truth), (False, outcome.prediction)):
            if span:
                what = f"{span.type} {'labelled' if labelled else 'predicted'}, frames {span.onset} to {span.offset}"
                score = "" if span.score is None else f", score {span.score:.2f}"
                words = f"{NAMES[outcome.result]}: {what}{score}"
                found[outcome.result, LANES.index((labelled, span.type)), span.onset, span.offset + 1, words] = None
    return list(reversed(found))


def _strips(one: Scored) -> list[tuple[float, float]]:
    """(first frame, frame after the last) of each."""
    spans = (*one.video.truths, *one.predictions)
    frames = one.video.length or max((span.offset + 1 for span in spans), default=1)
    count = min(max(math.ceil(frames / (one.video.fps or USUAL_FPS) / STRIP_S), 1), MAX_STRIPS)
    return [(place * frames / count, (place + 1) * frames / count) for place in range(count)]


def _strip(one: Scored, begin: float, end: float, bars: Sequence[Bar]) -> Iterator[str]:
    height = LANE_PX * len(LANES)
    yield f'<div class="strip"><svg class="names" width="118" height="{height + AXIS_PX}">'
    for lane, (labelled, kind) in enumerate(LANES):
        yield f'<text x="0" y="{lane * LANE_PX + 12}">{"labelled" if labelled else "predicted"} {kind}</text>'
    yield f'</svg><svg class="lanes" height="{height + AXIS_PX}">'
    yield f'<line class="middle" x1="0" x2="100%" y1="{height // 2}" y2="{height // 2}"/>'
    for result, lane, first, after, words in bars:
        left, right = (100 * (min(max(frame, begin), end) - begin) / (end - begin) for frame in (first, after))
        yield _bar(result, left, right - left, lane, words)
    yield from _axis(one.video.fps, begin, end, height)
    yield "</svg></div>"


def _bar(result: Result, left: float, width: float, lane: int, words: str) -> str:
    """`left` and `width` are percent of the strip."""
    y = lane * LANE_PX + 1
    title = f"<title>{escape(words)}</title>" if words else ""
    corners = f' rx="{BAR_PX // 2}"' if result == "FP" else ""
    box = f'x="{left:.3f}%" y="{y}" width="{width:.3f}%" height="{BAR_PX}"{corners}'
    letter = f'<text x="{left + width / 2:.3f}%" y="{y + 10}">{LETTERS[result]}</text>'
    return f'<g class="{MARKS[result]}">{title}<rect {box}/>{letter}</g>'


def _axis(fps: float | None, begin: float, end: float, top: int) -> Iterator[str]:
    """Six times along the strip; frames where the frame rate is not known."""
    for sixth in range(6):
        frame = begin + (end - begin) * sixth / 6
        yield f'<text class="tick" x="{100 * sixth / 6:.2f}%" y="{top + 12}">{_time(frame, fps)}</text>'


def _time(frame: float, fps: float | None) -> str:
    if fps is None:
        return f"frame {frame:.0f}"
    minutes, seconds = divmod(round(frame / fps, 1), 60)
    return f"{minutes:.0f}:{seconds:04.1f}"
