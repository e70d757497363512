"""The measurement of engines, on those that there are here, with rounds as short as they can be."""

import json
from pathlib import Path

import pytest

from livespot.bench import engines
from livespot.bench.engines import BATCHES, Point, bandwidth_share, candidates, measure, to_rich
from livespot.config import InferSettings
from livespot.engines import ENGINES
from livespot.errors import EngineError
from livespot.infer import OnnxScorer
from livespot.torch_scorer import TorchScorer
from tests.test_torch_scorer import write


@pytest.fixture(autouse=True)
def _short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "ROUNDS", (2, 2))
    monkeypatch.setattr(engines, "WARM_UP_ROUNDS", 1)


def test_every_engine_that_opens_is_timed_and_for_the_others_it_is_told_why(tmp_path: Path) -> None:
    settings = InferSettings(model=write(tmp_path, "motion"))
    said: list[str] = []
    figures = json.loads(json.dumps(measure(candidates(settings), (4, 1), said.append), allow_nan=False))
    by_name = {one["engine"]: one for one in figures["engines"]}
    assert {"onnx", "torch, CPU"} <= by_name.keys()
    assert by_name.keys() | figures["absent"].keys() == {*ENGINES, "torch, eager", "torch, CPU"}
    for timed in by_name.values():
        assert [point["clips"] for point in timed["points"]] == [1, 4]
        assert all(0 < point["median_ms"] <= point["p90_ms"] for point in timed["points"])
        assert all(point["clips_s"] > 0 for point in timed["points"])
    onnx, torch = by_name["onnx"]["points"][0], by_name["torch, CPU"]["points"][0]
    assert onnx["compute_ms"] is None
    assert torch["compute_ms"] > 0 and torch["moved_bytes"] > 0
    assert "onnx, 4 clips" in said
    assert sum(table.row_count for table in to_rich(figures)) == 2 * len(by_name)


def test_an_engine_too_slow_for_a_batch_gets_no_larger_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "POINT_S", 0.0)
    settings = InferSettings(model=write(tmp_path, "motion"))
    [timed] = measure({"onnx": lambda: OnnxScorer(settings)}, BATCHES, lambda _: None)["engines"]
    assert [point["clips"] for point in timed["points"]] == [1]


def test_where_no_engine_opens_all_reasons_are_told(tmp_path: Path) -> None:
    settings = InferSettings(model=str(tmp_path / "none.onnx"))
    with pytest.raises(EngineError, match=r"no onnx: no file .*none\.onnx"):
        measure(candidates(settings), (1,), lambda _: None)


def test_layers_move_more_for_more_clips_and_at_least_what_goes_in(tmp_path: Path) -> None:
    with TorchScorer(InferSettings(model=write(tmp_path, "motion")), "cpu", graphs=False) as scorer:
        channels, cells = scorer.clip.motion_shape
        one, eight = scorer.moved_bytes(1), scorer.moved_bytes(8)
        assert 4 * channels * cells < one < eight < 8.01 * one
        scorer.again(20)


def test_the_share_of_the_bandwidth_is_of_what_copies_reach() -> None:
    point = Point(1, 1.0, 1.0, 1000.0, compute_ms=0.5, moved_bytes=10**6).__dict__
    assert bandwidth_share(point, 4e9) == pytest.approx(0.5)
    assert bandwidth_share(point, None) is None
    assert bandwidth_share(point | {"moved_bytes": None}, 4e9) is None
