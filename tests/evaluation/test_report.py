"""The page, read as a browser would."""

from html.parser import HTMLParser
from pathlib import Path

import pytest

from livespot.errors import LivespotError
from livespot.evaluation.report import PAGE, write
from livespot.evaluation.scores import Evaluation, evaluate
from tests.evaluation.tables import Given, predictions, videos

VOID = {"meta", "input"}
"""Elements without an end."""

LABELLED: dict[str, list[Given]] = {"s1_<a>&b": [("micro", 30, 39), ("macro", 300, 359)], "s2_calm": []}
PREDICTED: dict[str, list[Given]] = {
    "s1_<a>&b": [("micro", 30, 39), ("micro", 31, 39), ("macro", 900, 959)],
    "unknown": [("macro", 1, 9)],
}


class Page(HTMLParser):
    """Checks that elements are closed in order, and keeps what the tests ask for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.videos: list[dict[str, str | None]] = []
        self.bars: list[tuple[str, str]] = []
        self.titles: list[str] = []
        self.rows: list[list[str]] = []
        self._open: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.links += [str(values[name]) for name in ("href", "src", "action") if name in values]
        self.ids += [str(values["id"])] if "id" in values else []
        if tag == "section":
            self.videos.append(values)
        if tag == "tr":
            self.rows.append([])
        if tag not in VOID:
            self._open.append((tag, values.get("class") or ""))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if not self._open:
            return
        tag, outer = self._open[-1][0], self._open[-2:][0][1]
        if tag in ("td", "th", "a") and self.rows:
            self.rows[-1].append(data)
        if tag == "text" and len(outer) == 1:
            self.bars.append((outer, data))
        if tag == "title":
            self.titles.append(data)


def scored(rule: str = "official", length: int | None = 1000) -> Evaluation:
    return evaluate(videos(LABELLED, length=length), predictions(PREDICTED), rule)


def read(tmp_path: Path, evaluation: Evaluation) -> Page:
    return Page(write(tmp_path / "report", evaluation).read_text(encoding="utf-8"))


def test_the_page_is_whole_and_needs_no_network(tmp_path: Path) -> None:
    path = write(tmp_path / "a" / "report", scored())
    text = path.read_text(encoding="utf-8")
    assert all(link.startswith("#") for link in Page(text).links)
    assert not any(word in text for word in ("://", "@import", "url(", "fetch("))
    assert [file.name for file in path.parent.iterdir()] == [PAGE]


def test_results_are_told_by_letter_and_by_style(tmp_path: Path) -> None:
    legend = [("h", "H"), ("m", "M"), ("f", "F"), ("n", "–")]
    bars = read(tmp_path, scored()).bars
    assert bars[:4] == legend
    assert sorted(bars[4:]) == [("f", "F")] * 3 + [("h", "H")] * 2 + [("m", "M")]
    forgiven = read(tmp_path, scored("drop-duplicates")).bars
    assert sorted(forgiven[4:]) == [("f", "F")] * 2 + [("h", "H")] * 2 + [("m", "M"), ("n", "–")]


def test_a_bar_says_what_it_is(tmp_path: Path) -> None:
    titles = read(tmp_path, scored()).titles
    assert "missed: macro labelled, frames 300 to 359" in titles
    assert "hit: micro predicted, frames 30 to 39" in titles


def test_every_video_has_a_timeline_that_its_row_leads_to(tmp_path: Path) -> None:
    page = read(tmp_path, scored())
    assert [video["data-name"] for video in page.videos] == ["s1_<a>&b", "s2_calm", "unknown"]
    assert [video.get("data-wrong") for video in page.videos] == ["1", None, "1"]
    assert set(page.links) == {"#v0", "#v1", "#v2"} <= {f"#{one}" for one in page.ids}


def test_tables_hold_the_counts(tmp_path: Path) -> None:
    rows = read(tmp_path, scored()).rows
    assert ["micro", "1", "2", "1", "1", "0", "0.5000", "1.0000", "0.6667"] in [row[:9] for row in rows]
    assert ["s1_<a>&b", "1", "1", "0", "0", "1", "1", "1", "2", "1", "0.400"] in rows
    assert ["s1", "1", "1", "0", "0", "1", "1", "1", "2", "1", "0.400"] in rows


def test_a_long_video_takes_strips_and_leaves_out_what_is_empty(tmp_path: Path) -> None:
    # an hour: strips of two minutes, two of which hold something
    found = evaluate(videos({"s1_a": [("macro", 10, 70), ("macro", 50_000, 50_060)]}, length=108_000), {})
    text = write(tmp_path, found).read_text(encoding="utf-8")
    assert text.count('<div class="strip">') == 2
    assert "26:00.0" in text


def test_an_expression_across_two_strips_is_in_both(tmp_path: Path) -> None:
    found = evaluate(videos({"s1_a": [("macro", 3590, 3610)]}, length=7200), {})
    assert read(tmp_path, found).bars[4:] == [("m", "M")] * 2


def test_a_page_of_many_videos_stays_small(tmp_path: Path) -> None:
    truths: list[Given] = [("macro", 100 * number, 100 * number + 60) for number in range(8)]
    many = evaluate(
        videos({f"s{number % 30}_{number}": truths for number in range(300)}),
        predictions({f"s{number % 30}_{number}": truths for number in range(300)}),
    )
    path = write(tmp_path, many)
    assert len(Page(path.read_text(encoding="utf-8")).videos) == 300
    assert path.stat().st_size < 2_000_000


def test_nothing_to_score_is_a_page_too(tmp_path: Path) -> None:
    assert read(tmp_path, evaluate({}, {})).videos == []


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "report").write_text("mine", encoding="utf-8")
    with pytest.raises(LivespotError, match="report cannot be made: File exists: give another folder"):
        write(tmp_path / "report", scored())
    assert (tmp_path / "report").read_text(encoding="utf-8") == "mine"
