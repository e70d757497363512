"""Numbers of a dataset as they were found, beside those that its authors give and those of the table that was made."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from livespot.datasets.expressions import Findings
from livespot.datasets.found import Found, Known
from livespot.evaluation.labels import Video
from livespot.records import EXPRESSION_TYPES


@dataclass(frozen=True)
class Count:
    """One number of a dataset, three times."""

    what: str
    found: float | None
    """In the label file and on disk; None where neither says."""
    known: float | None
    table: float | None
    """In the table of labels that was made."""
    rough: bool = False
    """The known one is."""

    @property
    def differs(self) -> bool:
        """Not what is known was found."""
        return None not in (self.found, self.known) and self.found != self.known and not self.rough


def counts(known: Known, found: Found, kinds: Counter[str], findings: Findings, videos: Sequence[Video]) -> list[Count]:
    """`kinds`: how many expressions the labels have of each type."""
    expressions = [*_expressions(known, kinds, videos), *_zeros(known, findings)]
    return [
        *_videos(known, found, videos),
        *(expressions if found.labels else ()),
        Count("frames", None, None, sum(video.length or 0 for video in videos)),
        *_rates(known, videos),
    ]


def _videos(known: Known, found: Found, videos: Sequence[Video]) -> Iterator[Count]:
    there = [location for location in found.locations.values() if location.path]
    subjects = {location.subject for location in found.locations.values()}
    labelled, with_truths = {label.video for label in found.labels}, [video for video in videos if video.truths]
    if found.labels:
        yield Count("subjects", len(subjects), known.subjects, len({video.subject for video in videos}))
    yield Count("videos", len(there), known.videos, len(videos), "videos" in known.roughly)
    if found.labels:
        yield Count("videos with expressions", len(labelled), known.labelled_videos, len(with_truths))


def _expressions(known: Known, kinds: Counter[str], videos: Sequence[Video]) -> Iterator[Count]:
    for kind, expected in zip(EXPRESSION_TYPES, (known.micro, known.macro), strict=True):
        table = sum(span.type == kind for video in videos for span in video.truths)
        yield Count(f"{kind}-expressions", kinds[kind], expected, table)


def _zeros(known: Known, findings: Findings) -> Iterator[Count]:
    for zero, expected in (("offset", known.offset_zero_macro), ("onset", known.onset_zero_macro)):
        if expected is not None:
            yield Count(f"macro, {zero} 0", findings.met[f"{zero}_zero macro"], expected, None)


def _rates(known: Known, videos: Sequence[Video]) -> Iterator[Count]:
    """Pictures do not tell how fast they were taken: nothing is found but what the table says."""
    rates = Counter(video.fps for video in videos)
    if known.videos_by_fps:
        for fps, expected in known.videos_by_fps.items():
            yield Count(f"videos at {fps:g} frames a second", rates[fps], expected, rates[fps])
    elif len(rates) == 1:
        yield Count("frames a second", None, known.fps, next(iter(rates)))
