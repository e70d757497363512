"""The datasets by name: each is brought to one table of labels, which prepare, train and evaluate read.

Every adapter says what it found beside what its dataset is known to hold, and which conventions it followed.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from livespot.datasets import casme2, casme3, generic, megc, samm_lv
from livespot.datasets.conventions import Conventions
from livespot.datasets.expressions import Findings
from livespot.datasets.found import BASES
from livespot.datasets.places import check_root
from livespot.datasets.scanning import Scan
from livespot.errors import SettingsError

LABELLED: Mapping[str, Callable[[Path, Path | None, Findings], Scan]] = {
    "casme2": casme2.scan,
    "samm-lv": samm_lv.scan,
    "casme3": casme3.scan,
}
UNLABELLED: Mapping[str, Callable[[Path, Findings], Scan]] = {
    "megc2022": partial(megc.scan, 2022),
    "megc2023": partial(megc.scan, 2023),
}
NAMES = (*LABELLED, "generic", *UNLABELLED)

TITLES: Mapping[str, str] = {"casme2": casme2.KNOWN.title, "samm-lv": samm_lv.KNOWN.title, "casme3": casme3.KNOWN.title}


def scan(
    name: str,
    root: Path,
    conventions: Conventions | None = None,
    labels: Path | None = None,
    base: str | None = None,
) -> Scan:
    """The dataset `name`, one of NAMES, below `root`; `labels` is its table where that is not found by its name.

    `base`, one of `BASES`, says how a generic table counts frames. Raises LivespotError that names every problem.
    """
    _check(name, base, labels)
    check_root(root)
    findings = Findings(TITLES.get(name, name), conventions or Conventions())
    if name in UNLABELLED:
        return UNLABELLED[name](root, findings)
    if name in LABELLED:
        return LABELLED[name](root, labels, findings)
    return generic.scan(root, labels, findings, base or "0")


def _check(name: str, base: str | None, labels: Path | None) -> None:
    if name not in NAMES:
        raise SettingsError(f"there is no dataset {name}: expected {' or '.join(NAMES)}")
    if base is not None and name != "generic":
        raise SettingsError(f"it is known how {name} counts frames: leave --frames-from out")
    if base is not None and base not in BASES:
        raise SettingsError(f"--frames-from {base}: expected {' or '.join(BASES)}")
    if labels is not None and name in UNLABELLED:
        raise SettingsError(f"{name} has no labels: leave --labels out")
