"""Random expressions pasted into recorded motion of faces: what the network on motion is trained on.

Real nuisance with synthetic signal beats both of one kind: a base is how a face moved, as it was measured, and into it
go the displacements that expressions give the regions of some face, exactly labelled.

    base  --a stretch of it-->  --another one's motion added-->  --expressions-->  --mirror, noise-->  example

Example i depends on the seed and on i alone, so training goes on where it was.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from livespot.capture.virtual import Expression
from livespot.motion.regions import REGIONS
from livespot.motion.search import COUNT, GRID_HZ, HEAD, MOVED, NOISE
from livespot.motion.window import channels
from livespot.records import ShapesInRepr
from livespot.synth.draws import log_uniform, pick
from livespot.synth.script import NAMES, Expressions, Movement, Peaks, Recipe
from livespot.training.recordings import Kind, Recording, Response, Take, labels_at, load, load_response, mark
from livespot.training.settings import PastingSettings

Array: TypeAlias = NDArray[np.float32]

REST_CELLS = 300
"""An example may begin so long before its base: what was before a face is watched is its earliest cell, repeated."""
FEWEST_CELLS = 200
"""A base that is shorter than an example shows at least so much of itself."""
APART_CELLS = 15
"""No expression is pasted so near to one that shows."""
SURE_CELLS = 25
"""Around what is pasted the labels of footage without labels are as good as any."""
MOST_SILENT = 4
"""Regions of a face that is partly covered."""
OWN_NOISE = 0.6
"""Share of the standard error that a cell does not have in common with its neighbours."""

OTHER_SIDE = [
    REGIONS.index(name.replace("left", "LEFT").replace("right", "left").replace("LEFT", "right")) for name in REGIONS
]
"""The region that each becomes in a mirror."""
TURNED = [HEAD.start + place for place in (0, 3, 4)]
"""What a mirror turns round of the head: shift x, roll, yaw."""


@dataclass(frozen=True, repr=False, eq=False)
class Base(ShapesInRepr):
    """How one face moved over a stretch without gaps, and what it showed."""

    paths: Array
    """(T, channels) as `records.MOTION_CHANNELS`."""
    labels: Array
    """(T, 2): 1 where a micro-, a macro-expression shows; zeros for clips, of which nobody knows."""
    kind: Kind


class Material(NamedTuple):
    """What examples are made of."""

    bases: Mapping[Kind, Sequence[Base]]
    """By kind; none is empty."""
    responses: Sequence[Response]


class Example(NamedTuple):
    """A stretch of motion to learn from."""

    paths: Array
    """(T, channels)."""
    labels: Array
    """(T, 2)."""
    weights: Array
    """(T,): how far the labels are to be trusted."""


def material(takes: Sequence[Take], folder: Path) -> Material:
    """What was recorded of the takes."""
    recorded = [take for take in takes if take.file(folder).exists()]
    bases: dict[Kind, list[Base]] = {}
    for take in recorded:
        if take.kind != "response":
            bases.setdefault(take.kind, []).extend(base(one, take.kind) for one in load(take.file(folder)))
    responses = [load_response(take.file(folder)) for take in recorded if take.kind == "response"]
    return Material({kind: some for kind, some in bases.items() if some}, responses)


def base(recording: Recording, kind: Kind) -> Base:
    """A recording with its truth cell by cell."""
    paths = channels(recording.cells)
    times_s = recording.begin_s + (np.arange(len(paths)) + 0.5) / GRID_HZ
    return Base(paths, labels_at(times_s, recording.truth), kind)


def batch(step: int, size: int, length: int, of: Material, settings: PastingSettings, seed: int) -> Example:
    """The examples of a step, stacked: paths (N, channels, T), labels (N, T, 2), weights (N, T)."""
    rng = np.random.default_rng((seed, step))
    paths, labels, weights = zip(*(example(rng, of, length, settings) for _ in range(size)), strict=True)
    return Example(np.ascontiguousarray(np.stack(paths).transpose(0, 2, 1)), np.stack(labels), np.stack(weights))


def example(rng: np.random.Generator, of: Material, length: int, settings: PastingSettings) -> Example:
    """One example of `length` cells."""
    kind = _kind(rng, of, settings)
    drawn = _cut(rng, pick(rng, of.bases[kind]), length, settings)
    if kind != "expressive":  # what is labelled would be no longer as large as it was drawn
        drawn = drawn._replace(paths=_scaled(drawn.paths, log_uniform(rng, settings.livelier)))
    if rng.random() < settings.mixed:
        drawn = _mixed(rng, drawn, of, settings)
    if not drawn.labels.any() or rng.random() < settings.into_expressive:
        drawn = pasted(rng, drawn, pick(rng, of.responses), settings)
    if rng.random() < settings.mirrored:
        drawn = drawn._replace(paths=mirrored(drawn.paths))
    if rng.random() < settings.noisy:
        drawn = drawn._replace(paths=_noisier(rng, drawn.paths, log_uniform(rng, settings.noise)))
    if rng.random() < settings.silenced:
        drawn = drawn._replace(paths=_silenced(rng, drawn.paths))
    return drawn._replace(paths=_told(drawn.paths, log_uniform(rng, settings.told_noise)))


def pasted(rng: np.random.Generator, into: Example, response: Response, settings: PastingSettings) -> Example:
    """The same face with expressions of another, wherever nothing shows yet."""
    paths, labels, weights = (array.copy() for array in into)
    times_s = (np.arange(len(paths)) + 0.5) / GRID_HZ
    for expression, movements in _expressions(rng, len(paths) / GRID_HZ, response, settings):
        first, beyond = np.searchsorted(times_s, (expression.onset_s, expression.offset_s))
        if into.labels[max(first - APART_CELLS, 0) : beyond + APART_CELLS].any():
            continue
        moved_iod = _as_measured(rng, displacement_iod(movements, times_s[first:beyond], response), settings)
        paths[first:beyond, MOVED] += moved_iod.reshape(-1, 2 * COUNT)
        mark(labels, times_s, expression)
        weights[max(first - SURE_CELLS, 0) : beyond + SURE_CELLS] = 1
    return Example(paths, labels, weights)


def displacement_iod(movements: Sequence[Movement], times_s: NDArray[np.float64], response: Response) -> Array:
    """What movements do to the regions, (T, regions, 2)."""
    intensities = np.zeros((len(times_s), len(NAMES)))
    for movement in movements:
        for name, intensity in movement.intensities.items():
            intensities[:, NAMES.index(name)] += intensity * movement.share(times_s)
    return np.tensordot(intensities, response.regions_iod, 1).astype(np.float32)


def mirrored(paths: Array) -> Array:
    """How the same face (T, channels) moves in a mirror."""
    seen = paths.copy()
    moved_iod = paths[:, MOVED].reshape(-1, COUNT, 2)[:, OTHER_SIDE] * np.array([-1, 1], np.float32)
    seen[:, MOVED] = moved_iod.reshape(-1, 2 * COUNT)
    seen[:, NOISE] = paths[:, NOISE][:, OTHER_SIDE]
    seen[:, TURNED] *= -1
    return seen


def _expressions(
    rng: np.random.Generator, seconds: float, response: Response, settings: PastingSettings
) -> Iterator[tuple[Expression, list[Movement]]]:
    """As a script has them, but in some examples in haste and in some with long pauses."""
    recipe, slower = Recipe(), rng.uniform(*settings.pauses)
    shortest_s, longest_s = recipe.pause_s
    recipe = replace(recipe, pause_s=(shortest_s * slower, longest_s * slower))
    return Expressions(Peaks(response.fields_iod.astype(np.float64)), seconds, recipe).drawn(rng)


def _as_measured(rng: np.random.Generator, moved_iod: Array, settings: PastingSettings) -> Array:
    """Flow sees a little less than there is, region by region, and some of it is taken for the head's motion."""
    gain = rng.normal(settings.gain, settings.gain_spread, (1, COUNT, 1))
    seen = gain * moved_iod
    return np.asarray(seen - rng.uniform(0, settings.taken_for_head) * seen.mean(axis=1, keepdims=True), np.float32)


def _kind(rng: np.random.Generator, of: Material, settings: PastingSettings) -> Kind:
    """By their shares among what there is."""
    kinds = list(of.bases)
    shares = np.array([getattr(settings, kind) for kind in kinds])
    return kinds[int(rng.choice(len(kinds), p=shares / shares.sum()))]


def _cut(rng: np.random.Generator, of: Base, length: int, settings: PastingSettings) -> Example:
    """A stretch of a base. Clips are short: they are played forth and back."""
    cells = len(of.paths)
    if of.kind == "clip":
        places = (int(rng.integers(cells)) + np.arange(length)) % (2 * cells)
        places = np.minimum(places, 2 * cells - 1 - places)
        weights = np.full(length, settings.unlabelled_weight, np.float32)
        return Example(of.paths[places], of.labels[places], weights)
    begin = int(rng.integers(-REST_CELLS, max(cells - length, -FEWEST_CELLS) + 1))
    places = np.arange(begin, begin + length)
    inside = (places >= 0) & (places < cells)
    places = places.clip(0, cells - 1)
    return Example(of.paths[places], of.labels[places] * inside[:, None], np.ones(length, np.float32))


def _mixed(rng: np.random.Generator, drawn: Example, of: Material, settings: PastingSettings) -> Example:
    """With a share of the motion of a face that shows no labelled expression added: more nuisance than any has."""
    others = [kind for kind in of.bases if kind != "expressive"]
    if not others:
        return drawn
    other = pick(rng, of.bases[others[int(rng.integers(len(others)))]]).paths
    begin = int(rng.integers(max(len(other) - len(drawn.paths), 1)))
    added = other[np.arange(begin, begin + len(drawn.paths)).clip(0, len(other) - 1)]
    share, paths = rng.uniform(*settings.mixed_share), drawn.paths.copy()
    for some in (MOVED, HEAD):
        paths[:, some] += np.float32(share) * (added[:, some] - added[:1, some])
    return drawn._replace(paths=paths)


def _scaled(paths: Array, livelier: float) -> Array:
    """The same face, all its motion so many times as large."""
    scaled = paths.copy()
    for some in (MOVED, HEAD):
        scaled[:, some] = paths[:1, some] + np.float32(livelier) * (paths[:, some] - paths[:1, some])
    return scaled


def _silenced(rng: np.random.Generator, paths: Array) -> Array:
    """A few regions do not move: without texture, or behind glasses, a beard or hair, they are not measured."""
    silent = paths.copy()
    for region in rng.choice(COUNT, int(rng.integers(1, MOST_SILENT + 1)), replace=False):
        both = slice(2 * region, 2 * region + 2)
        silent[:, both] = paths[:1, both]
    return silent


def _noisier(rng: np.random.Generator, paths: Array, more: float) -> Array:
    """As a worse camera would have it: errors grow by `more` of what they are, and are told to."""
    noisy = paths.copy()
    own_iod = np.repeat(OWN_NOISE * more * paths[:, NOISE], 2, axis=1)
    noisy[:, MOVED] += own_iod * rng.standard_normal(own_iod.shape, np.float32)
    noisy[:, NOISE] *= np.float32((1 + more**2) ** 0.5)
    return noisy


def _told(paths: Array, times: float) -> Array:
    """The same motion with errors told so many times as large: what flow believes of its errors differs from camera to
    camera, and by it alone footage could be told from portraits.
    """
    told = paths.copy()
    told[:, NOISE] *= np.float32(times)
    return told
