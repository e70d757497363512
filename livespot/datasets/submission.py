"""The file with which predictions for the challenge's unseen clips are handed in, 2022 and 2023.

    vid,pred_onset,pred_offset,type      2022
    vid,onset,offset,type                2023
    006_3,141,219,me                     me is micro, mae macro

Neither year's paper says how frames are counted there. The labels of SAMM-LV and CAS(ME)3 call the first picture 1, and
so does a submission unless another number is given; both ends are inclusive, as in those labels.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from livespot.errors import LivespotError, SettingsError
from livespot.evaluation.labels import Span, Video
from livespot.files import replacing
from livespot.records import ExpressionType

COLUMNS: Mapping[int, Sequence[str]] = {
    2022: ("vid", "pred_onset", "pred_offset", "type"),
    2023: ("vid", "onset", "offset", "type"),
}
TYPES: Mapping[ExpressionType, str] = {"micro": "me", "macro": "mae"}


def write_submission(path: Path, year: int, predictions: Mapping[str, Sequence[Span]], first_frame: int = 1) -> int:
    """Write the file, which appears whole or not at all; how many rows it has. `first_frame`: the number of frame 0."""
    if year not in COLUMNS:
        raise SettingsError(f"there is no submission of {year}: expected {' or '.join(map(str, COLUMNS))}")
    rows = [
        (video, span.onset + first_frame, span.offset + first_frame, TYPES[span.type])
        for video, spans in predictions.items()
        for span in spans
    ]
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows((COLUMNS[year], *rows))
    return len(rows)


def silent_clips(clips: Mapping[str, Video], predictions: Mapping[str, Sequence[Span]]) -> list[str]:
    """Clips for which nothing was predicted. Raises LivespotError where something was predicted for no clip."""
    unknown = [name for name in predictions if name not in clips]
    if unknown:
        raise LivespotError(f"predicted for no clip: {', '.join(unknown)}; the clips are {', '.join(clips)}")
    return [name for name in clips if name not in predictions]
