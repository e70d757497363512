"""Imports point down only; stages never import each other; what runs never imports what trains."""

import ast
from collections.abc import Iterator
from pathlib import Path

import livespot

LEVELS = (
    {"records", "errors", "assets"},
    {"config", "files", "landmarks", "metrics", "processes"},
    {"action_units"},
    {"capture", "align", "normalise", "buffer", "infer", "decode", "publish", "nets", "motion"}
    | {"tables", "plot", "overlay"},
    {"methods", "torch_scorer", "half", "prometheus", "batching", "recordings"},
    {"pipeline", "evaluation", "synth", "export", "engines"},
    {"datasets", "meter", "shards"},
    {"training", "doctor", "exports", "live", "measuring", "spotting", "bridges"},
    {"bench", "demo", "parity"},
    {"cli"},
    {"__init__", "__main__"},
)
"""From the bottom up. A module may import what lies on a lower level, or is part of the same package."""

LEVEL = {module: level for level, modules in enumerate(LEVELS) for module in modules}

TRAINING_LIBRARIES = {"torch", "torchvision", "onnx"}
MAY_TRAIN = {"nets", "training", "export", "half", "torch_scorer"}


def violations(package: Path) -> list[str]:
    """Every import of the package's files that breaks a rule, as `file:line: what`."""
    return [
        f"{file.relative_to(package)}:{line}: {problem}"
        for file in sorted(package.rglob("*.py"))
        for line, problem in problems(package, file)
    ]


def problems(package: Path, file: Path) -> Iterator[tuple[int, str]]:
    importer = file.relative_to(package).with_suffix("").parts[0]
    if importer not in LEVEL:
        yield 0, f"{importer} has no level yet: give it its place in LEVELS"
        return
    for line, name in imported(file):
        library, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        if library in TRAINING_LIBRARIES and importer not in MAY_TRAIN:
            yield line, f"{importer} imports {library}"
        elif library == package.name and target not in LEVEL:
            yield line, f"{importer} imports the package's root"
        elif library == package.name and importer != target and LEVEL[importer] <= LEVEL[target]:
            yield line, f"{importer} imports {target}"


def imported(file: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of each import, also of those inside functions."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def made_up(folder: Path, file: str, line: str) -> Path:
    package = folder / "livespot"
    path = package / file
    path.parent.mkdir(parents=True)
    path.write_text(f"def late() -> None:\n    {line}\n", encoding="utf-8")
    return package


def test_imports_of_livespot_point_down_only() -> None:
    assert livespot.__file__ is not None
    assert violations(Path(livespot.__file__).parent) == []


def test_an_import_that_points_up_is_found(tmp_path: Path) -> None:
    package = made_up(tmp_path, "decode.py", "from livespot.pipeline import run")
    assert violations(package) == ["decode.py:2: decode imports pipeline"]


def test_a_stage_that_imports_another_is_found(tmp_path: Path) -> None:
    package = made_up(tmp_path, "publish/zmq.py", "import livespot.decode")
    assert violations(package) == ["publish/zmq.py:2: publish imports decode"]


def test_a_stage_imported_by_its_name_alone_is_found(tmp_path: Path) -> None:
    package = made_up(tmp_path, "align.py", "from livespot import buffer")
    assert violations(package) == ["align.py:2: align imports buffer"]


def test_torch_in_the_runtime_is_found(tmp_path: Path) -> None:
    package = made_up(tmp_path, "infer/onnx.py", "import torch.nn")
    assert violations(package) == ["infer/onnx.py:2: infer imports torch"]


def test_onnx_in_the_runtime_is_found_and_onnxruntime_is_not(tmp_path: Path) -> None:
    package = made_up(tmp_path, "infer/onnx.py", "import onnx, onnxruntime")
    assert violations(package) == ["infer/onnx.py:2: infer imports onnx"]


def test_an_inner_module_that_imports_the_root_is_found(tmp_path: Path) -> None:
    package = made_up(tmp_path, "tables.py", "from livespot import subscribe")
    assert violations(package) == ["tables.py:2: tables imports the package's root"]


def test_a_module_without_a_level_is_found(tmp_path: Path) -> None:
    package = made_up(tmp_path, "helpers.py", "pass")
    assert violations(package) == ["helpers.py:0: helpers has no level yet: give it its place in LEVELS"]


def test_what_points_down_or_stays_inside_a_package_is_allowed(tmp_path: Path) -> None:
    package = made_up(tmp_path, "publish/zmq.py", "from livespot.publish import messages; import livespot.records, zmq")
    assert violations(package) == []


def test_training_may_import_torch(tmp_path: Path) -> None:
    package = made_up(tmp_path, "training/loop.py", "import torch; from livespot.nets import yap2022")
    assert violations(package) == []
