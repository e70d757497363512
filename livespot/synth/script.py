"""What a face does in one synthesised video: expressions, which are labelled, and everything else, which is not.

A script is drawn once and is a function of continuous time: the same seed does the same at 30 and at 200 frames/s.
Nothing here knows of pictures. Amplitudes are peak displacements of the skin in inter-ocular distances (IOD).

    labelled     micro- and macro-expressions: action units in combinations that occur in life, each face in its own way
    unlabelled   blinks, gaze, talking, swallowing, slow drift of the neutral face; sway, turns and nods of the head
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from livespot.action_units import EXPRESSIONS, UNITS, raised_cosine
from livespot.capture.virtual import Expression
from livespot.records import ExpressionType
from livespot.synth.draws import log_uniform, pick

Array: TypeAlias = NDArray[np.float64]
Range: TypeAlias = tuple[float, float]

NAMES: tuple[str, ...] = tuple(UNITS)
"""Columns of every array of intensities."""

SIDES = ("left", "right")
SHOWN = {name for name in NAMES if name.startswith("AU")}
UPPER = {name for name in SHOWN if name.split("_")[0] in ("AU1", "AU2", "AU4", "AU6", "AU9")}
"""What an expression may be made of, and what of that a mouth that speaks leaves alone."""

POSE = ("yaw_rad", "pitch_rad", "roll_rad", "x_iod", "y_iod", "growth")
"""Columns of every array of poses: turns to the viewer's right, down and clockwise, shift, logarithm of the size."""

VISEMES: tuple[Mapping[str, float], ...] = (
    {"AU25": 1.0, "AU26": 0.4},
    {"AU26": 1.0, "AU25": 0.7},
    {"AU18": 1.0},
    {"AU24": 1.0},
    {"AU20_left": 0.8, "AU20_right": 0.8, "AU25": 0.5},
    {"AU10_left": 0.6, "AU10_right": 0.6, "AU25": 0.8},
    {"AU17": 1.0},
)
"""What a mouth does while it speaks."""

SWALLOW: Mapping[str, float] = {"AU24": 0.5, "AU17": 0.8, "AU26": -0.3}


@dataclass(frozen=True)
class Recipe:
    """The ranges scripts are drawn from; shares are those of videos."""

    micro_s: Range = (0.1, 0.5)
    micro_iod: Range = (0.008, 0.03)
    macro_s: Range = (0.5, 4.0)
    macro_iod: Range = (0.02, 0.11)
    """By definition of the two classes, and as faint as can be told from a camera's noise."""
    pause_s: Range = (0.4, 5.0)
    """From one expression to the next."""
    of_life: float = 0.7
    """Share of expressions that are among `EXPRESSIONS`; the others are one to three units drawn at random."""
    uneven: float = 0.35
    """Standard deviation by which the parts of a combination differ in strength from face to face and time to time."""
    asynchrony: float = 0.15
    """Parts of a combination begin and end within this share of its length of each other."""
    blink_every_s: Range = (1.0, 8.0)
    blink_s: Range = (0.12, 0.4)
    gaze: float = 0.7
    gaze_every_s: Range = (0.4, 4.0)
    gaze_iod: float = 0.06
    """How far the iris moves at most; half of that is the standard deviation."""
    talking: float = 0.3
    talk_s: Range = (1.5, 10.0)
    syllable_s: Range = (0.12, 0.4)
    talk_iod: Range = (0.006, 0.07)
    around_talk_s: float = 0.6
    """The mouth is ready before it is heard and comes to rest after it: so long no lower face is labelled."""
    swallow_every_s: float = 20.0
    swallow_iod: Range = (0.003, 0.007)
    """Below the faintest expression: what moves more would have to be labelled."""
    drift_iod: Range = (0.001, 0.006)
    drift_s: Range = (5.0, 20.0)
    """How long slow changes of the neutral face take: longer than any expression."""
    sway_rad: float = 0.03
    sway_iod: float = 0.06
    sway_growth: float = 0.03
    sway_hz: Range = (0.05, 0.9)
    """A head that is held still: largest standard deviations."""
    turning: float = 0.6
    turn_every_s: Range = (1.5, 8.0)
    turn_rad: Range = (0.03, 0.35)
    turn_s: Range = (0.25, 1.5)
    """Turns and nods, there and perhaps back."""


@dataclass(frozen=True)
class Movement:
    """One thing that a face does: intensities that rise from neutral, stay, and return to it."""

    intensities: Mapping[str, float]
    onset_s: float
    apex_s: float
    fall_s: float
    """From here on it returns."""
    offset_s: float
    rise_power: float = 1.0
    fall_power: float = 1.0
    """1 is a raised cosine; more starts later, less earlier."""

    def share(self, times_s: Array) -> Array:
        """How much of it is there, (T,) in [0, 1]; zero outside [onset, offset)."""
        rise = ((times_s - self.onset_s) / (self.apex_s - self.onset_s)).clip(0, 1)
        fall = ((self.offset_s - times_s) / (self.offset_s - self.fall_s)).clip(0, 1)
        return np.asarray(raised_cosine(rise) ** self.rise_power * raised_cosine(fall) ** self.fall_power)


@dataclass(frozen=True)
class Turn:
    """A turn of the head, which stays as it is after it."""

    axis: int
    """Column of `POSE`."""
    change: float
    begin_s: float
    length_s: float

    def share(self, times_s: Array) -> Array:
        """How much of it is done, (T,) in [0, 1]."""
        return raised_cosine(((times_s - self.begin_s) / self.length_s).clip(0, 1))


@dataclass(frozen=True)
class Expressions:
    """The labelled expressions of one face, as they are drawn for scripts."""

    peaks: "Peaks"
    seconds: float
    recipe: Recipe
    talks: tuple[Range, ...] = ()
    """When the face speaks."""

    def drawn(self, rng: np.random.Generator) -> Iterator[tuple[Expression, list[Movement]]]:
        """One after the other, micro and macro in any order; the last ends before the video does."""
        recipe = self.recipe
        end_s = 0.0
        while True:
            kind: ExpressionType = "micro" if rng.random() < 0.5 else "macro"
            onset_s = end_s + log_uniform(rng, recipe.pause_s)
            length_s = log_uniform(rng, recipe.micro_s if kind == "micro" else recipe.macro_s)
            amplitude_iod = log_uniform(rng, recipe.micro_iod if kind == "micro" else recipe.macro_iod)
            end_s = onset_s + length_s
            if end_s > self.seconds - recipe.pause_s[0]:
                return
            yield self._expression(rng, kind, onset_s, length_s, amplitude_iod)

    def _expression(
        self, rng: np.random.Generator, kind: ExpressionType, onset_s: float, length_s: float, amplitude_iod: float
    ) -> tuple[Expression, list[Movement]]:
        hold = rng.uniform(0, 0.3 if kind == "micro" else 0.6) * (rng.random() < 0.6)
        apex = (1 - hold) * rng.uniform(0.25, 0.65)
        apex_s, fall_s, offset_s = (onset_s + share * length_s for share in (apex, apex + hold, 1.0))
        parts = self._combination(rng, amplitude_iod, self._speaks(onset_s, offset_s))
        powers = np.exp(rng.normal(0, 0.25, 2))
        movements = []
        for place, (name, intensity) in enumerate(parts.items()):
            late, early = rng.uniform(0, self.recipe.asynchrony * length_s, 2) * (place > 0)
            movements.append(
                Movement({name: intensity}, onset_s + min(late, (apex_s - onset_s) / 2), apex_s, fall_s,
                         offset_s - min(early, (offset_s - fall_s) / 2), *powers)
            )  # fmt: skip
        named = "+".join(name.removeprefix("AU") for name in parts)
        return Expression(kind, onset_s, apex_s, offset_s, fall_s - apex_s, named, amplitude_iod), movements

    def _speaks(self, onset_s: float, offset_s: float) -> bool:
        """Whether the mouth moves by speaking at any time of the interval."""
        around_s = self.recipe.around_talk_s
        return any(begin_s - around_s < offset_s and onset_s < end_s + around_s for begin_s, end_s in self.talks)

    def _combination(self, rng: np.random.Generator, amplitude_iod: float, speaking: bool) -> dict[str, float]:
        """Units that move together, scaled to the amplitude; while the mouth speaks, of the upper face."""
        if rng.random() < self.recipe.of_life:
            shares = dict(pick(rng, [one for one in EXPRESSIONS.values() if not speaking or set(one) <= UPPER]))
        else:
            units = [name for name in NAMES if name in (UPPER if speaking else SHOWN)]
            shares = {str(name): 1.0 for name in rng.choice(units, rng.integers(1, 4), replace=False)}
        shares = {name: share * float(np.exp(rng.normal(0, self.recipe.uneven))) for name, share in shares.items()}
        return self.peaks.scaled(shares, amplitude_iod)


class Script:
    """All that one face does in `seconds`; `truth` is what of it is to be spotted.

    `peaks` tells how far intensity 1 of each unit, or a combination of them, moves the fastest point of the skin: by
    one IOD for a lone unit, and as their fields overlap for several. `lids_iod` is the opening of the eyes.
    """

    def __init__(
        self, rng: np.random.Generator, seconds: float, peaks: "Peaks", lids_iod: float, recipe: Recipe | None = None,
        expressive: bool = True,
    ) -> None:  # fmt: skip
        self._recipe = recipe or Recipe()
        self._seconds, self._peaks = seconds, peaks
        self.talks: tuple[Range, ...] = ()
        """When the face speaks."""
        labelled, others, head = rng.spawn(3)
        self.movements = [*self._blinks(others, lids_iod), *self._gazes(others), *self._swallows(others)]
        self.movements += [*self._talking(others), *self._drifts(others)]
        shown = []
        if expressive:
            shown = list(Expressions(peaks, seconds, self._recipe, self.talks).drawn(labelled))
        self.truth: tuple[Expression, ...] = tuple(expression for expression, _ in shown)
        self.movements += [movement for _, movements in shown for movement in movements]
        self._draw_head(head)

    def intensities(self, times_s: Array) -> Array:
        """Of every unit, (T, units)."""
        total = np.zeros((len(times_s), len(NAMES)))
        for movement in self.movements:
            first, beyond = np.searchsorted(times_s, (movement.onset_s, movement.offset_s))
            share = movement.share(times_s[first:beyond])
            for name, intensity in movement.intensities.items():
                total[first:beyond, NAMES.index(name)] += intensity * share
        return total

    def poses(self, times_s: Array) -> Array:
        """Of the head, (T, 6) as `POSE`."""
        waves = np.sin(2 * np.pi * self._sway_hz * times_s[:, None, None] + self._sway_rad).mean(axis=2)
        pose = np.asarray(waves * self._sway)
        for turn in self._turns:
            pose[:, turn.axis] += turn.change * turn.share(times_s)
        return pose

    def _blinks(self, rng: np.random.Generator, lids_iod: float) -> Iterator[Movement]:
        """Some follow at once, some are not whole."""
        begin_s = rng.uniform(0, self._recipe.blink_every_s[1])
        while begin_s < self._seconds:
            length_s, depth = rng.uniform(*self._recipe.blink_s), lids_iod * rng.uniform(0.5, 1.0)
            apex_s = begin_s + rng.uniform(0.25, 0.45) * length_s
            fall_s, drag = apex_s + 0.1 * length_s, depth * rng.uniform(0, 0.1)
            sides = {f"{unit}_{side}": size for unit, size in (("blink", depth), ("AU7", drag)) for side in SIDES}
            yield Movement(sides, begin_s, apex_s, fall_s, begin_s + length_s)
            twice = rng.random() < 0.15
            begin_s += length_s + (rng.uniform(0.02, 0.2) if twice else log_uniform(rng, self._recipe.blink_every_s))

    def _gazes(self, rng: np.random.Generator) -> Iterator[Movement]:
        """Looks elsewhere and back; the lids follow a look up or down."""
        if rng.random() >= self._recipe.gaze:
            return
        begin_s = 0.0
        while (begin_s := begin_s + log_uniform(rng, self._recipe.gaze_every_s)) < self._seconds:
            farthest_iod = self._recipe.gaze_iod
            aside, down = rng.normal(0, farthest_iod / 2, 2).clip(-farthest_iod, farthest_iod)
            length_s, saccade_s = log_uniform(rng, self._recipe.gaze_every_s) + 0.1, rng.uniform(0.03, 0.08)
            looks = {"gaze_x": aside, "gaze_y": down / 2, "blink_left": down / 2, "blink_right": down / 2}
            end_s = begin_s + length_s
            yield Movement(looks, begin_s, begin_s + saccade_s, end_s - saccade_s, end_s)
            begin_s = end_s

    def _talking(self, rng: np.random.Generator) -> Iterator[Movement]:
        """Stretches of syllables, each a viseme that melts into the next."""
        if rng.random() >= self._recipe.talking:
            return
        loud_iod = log_uniform(rng, self._recipe.talk_iod)
        begin_s = rng.uniform(0, self._recipe.talk_s[1])
        while begin_s < self._seconds:
            end_s = begin_s + rng.uniform(*self._recipe.talk_s)
            self.talks = (*self.talks, (begin_s, end_s))
            while begin_s < end_s:
                length_s = rng.uniform(*self._recipe.syllable_s)
                peak_iod = loud_iod * float(np.exp(rng.normal(0, 0.5)))
                units = self._peaks.scaled(pick(rng, VISEMES), peak_iod)
                middle_s = begin_s + length_s * rng.uniform(0.3, 0.7)
                yield Movement(units, begin_s - 0.3 * length_s, middle_s, middle_s, begin_s + 1.3 * length_s)
                begin_s += length_s * rng.uniform(0.8, 1.3)
            begin_s += rng.uniform(*self._recipe.talk_s)

    def _swallows(self, rng: np.random.Generator) -> Iterator[Movement]:
        begin_s = 0.0
        while (begin_s := begin_s + rng.exponential(self._recipe.swallow_every_s)) < self._seconds:
            length_s = rng.uniform(0.6, 1.4)
            units = self._peaks.scaled(SWALLOW, log_uniform(rng, self._recipe.swallow_iod))
            yield Movement(units, begin_s, begin_s + 0.4 * length_s, begin_s + 0.6 * length_s, begin_s + length_s)

    def _drifts(self, rng: np.random.Generator) -> Iterator[Movement]:
        """The neutral face is never the same: it comes and goes so slowly that it is no expression."""
        begin_s = -self._recipe.drift_s[1]
        while begin_s < self._seconds:
            length_s = rng.uniform(*self._recipe.drift_s)
            units = self._peaks.scaled(pick(rng, list(EXPRESSIONS.values())), log_uniform(rng, self._recipe.drift_iod))
            yield Movement(units, begin_s, begin_s + length_s / 2, begin_s + length_s / 2, begin_s + length_s)
            begin_s += rng.uniform(0.3, 1.0) * length_s

    def _draw_head(self, rng: np.random.Generator) -> None:
        recipe = self._recipe
        largest = [recipe.sway_rad] * 3 + [recipe.sway_iod] * 2 + [recipe.sway_growth]
        self._sway = np.array(largest) * rng.uniform(0, 2) * rng.uniform(0.3, 1, len(POSE))
        slowest, fastest = np.log(recipe.sway_hz)
        self._sway_hz = np.exp(rng.uniform(slowest, fastest, (len(POSE), 4)))
        self._sway_rad = rng.uniform(0, 2 * np.pi, (len(POSE), 4))
        self._turns = list(self._turning(rng)) if rng.random() < recipe.turning else []

    def _turning(self, rng: np.random.Generator) -> Iterator[Turn]:
        """Turns that stay a while, and nods, which are two in a row; none leads far from the camera."""
        recipe, pose = self._recipe, np.zeros(3)
        begin_s = rng.uniform(*recipe.turn_every_s)
        while begin_s < self._seconds:
            axis = int(rng.integers(3))
            towards = -1 if rng.random() < 0.5 + 2 * pose[axis] else 1
            change = towards * log_uniform(rng, recipe.turn_rad) * (0.4 if axis == 2 else 1)
            for _ in range(int(rng.integers(1, 4))):
                length_s = log_uniform(rng, recipe.turn_s)
                yield Turn(axis, change, begin_s, length_s)
                pose[axis] += change
                begin_s, change = begin_s + length_s, -change * rng.uniform(0.7, 1.1)
            begin_s += log_uniform(rng, recipe.turn_every_s)


class Peaks:
    """How far several units at once bring the fastest point of the skin; `fields_iod` (units, points, 2) are theirs."""

    def __init__(self, fields_iod: Array) -> None:
        self._fields = fields_iod

    def scaled(self, shares: Mapping[str, float], amplitude_iod: float) -> dict[str, float]:
        """Intensities in these shares that move the fastest point by `amplitude_iod`."""
        field = sum(share * self._fields[NAMES.index(name)] for name, share in shares.items())
        peak = float(np.linalg.norm(field, axis=-1).max())
        return {name: share * amplitude_iod / peak for name, share in shares.items()}
