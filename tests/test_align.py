"""A still face gives a still crop, a moving one is followed at once, and nothing drags a crop along.

A portrait moved along known paths stands for the face: where its rigid points come to lie in the crops is measured.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from livespot.align import Aligner
from livespot.bench import known_path, wander_px
from livespot.config import AlignSettings
from livespot.landmarks import (
    CROP_IOD_PX,
    RIGID,
    RIGID_CROP_PX,
    FaceMesh,
    apply,
    compose,
    crop_transform,
    inter_ocular_px,
    invert,
)
from livespot.records import Face, Frame, Gap
from tests.portraits import EYES_PX, IOD_PX, SIZE_PX, Motion, Picture, astronaut, mirrored, noisy

FPS = 30.0
BLACK: Picture = np.zeros((SIZE_PX[1], SIZE_PX[0], 3), np.uint8)
SETTINGS = AlignSettings()


def align(
    pictures: Iterable[Picture], settings: AlignSettings = SETTINGS, fps: float = FPS, epochs: Sequence[int] = ()
) -> list[list[Face | Gap]]:
    """What the aligner tells of each picture."""
    with Aligner(settings, "film") as aligner:
        return [
            aligner.push(Frame(picture, "film", index, index / fps, 0.0, epochs[index] if epochs else 0))
            for index, picture in enumerate(pictures)
        ]


def faces(told: list[Face | Gap]) -> list[Face]:
    return [item for item in told if isinstance(item, Face)]


def gaps(told: Iterable[list[Face | Gap]]) -> list[Gap]:
    return [item for items in told for item in items if isinstance(item, Gap)]


def ids(told: Iterable[list[Face | Gap]]) -> set[int]:
    return {face.face for items in told for face in faces(items)}


def film(motions: Sequence[Motion], size_px: tuple[int, int] = SIZE_PX) -> list[Picture]:
    return noisy([astronaut().shown(motion, size_px) for motion in motions])


def off_px(told: Sequence[list[Face | Gap]], motions: Sequence[Motion]) -> NDArray[np.float64]:
    """How far the face has come from its first place in the crop, mean over its rigid points, in each picture."""
    places = np.array(
        [astronaut().places_px(faces(items)[0], motion) for items, motion in zip(told, motions, strict=True)]
    )
    return np.asarray(np.linalg.norm(places - places[0], axis=2).mean(axis=1))


def cut(picture: Picture, face: Face) -> Picture:
    """The crop as the face's transform takes it straight from the picture."""
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.warpAffine(grey, face.transform, (112, 112), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def swaying(count: int, reach_px: float = 5.0) -> list[Motion]:
    return [astronaut().at((reach_px * np.sin(index / 9), reach_px * np.cos(index / 7) / 2)) for index in range(count)]


def test_a_still_that_sways_wanders_at_most_a_fifth_as_far_as_with_landmarks_alone() -> None:
    still = astronaut().shown(astronaut().at(iod_px=80))
    pictures, motions = zip(*islice(known_path(still), 150), strict=True)
    with FaceMesh() as mesh:
        plain = [crop_transform(mesh.find(picture)[0]) for picture in pictures]
    with FaceMesh(static=True) as mesh:
        points = mesh.find(still)[0][list(RIGID)]
    tracked = [faces(items)[0].transform for items in align(pictures)]
    assert wander_px(tracked, motions, points) <= 0.2 * wander_px(plain, motions, points)


@pytest.mark.parametrize(
    "moved",
    [
        astronaut().at((2.3, -1.6)),
        astronaut().at((9.5, 4.0)),
        astronaut().at((20.0, 0.0)),
        astronaut().at(roll=5),
        astronaut().at(roll=-12),
        astronaut().at(growth=1.1),
        astronaut().at(growth=0.9),
        astronaut().at((4.0, -3.0), roll=4, growth=1.05),
    ],
    ids=["shift", "far shift", "a third of the eyes", "turn", "far turn", "nearer", "away", "all at once"],
)
def test_a_sudden_step_is_followed_in_its_very_frame(moved: Motion) -> None:
    motions = [astronaut().at()] * 12 + [moved] * 3
    told = align(film(motions))
    assert off_px(told, motions).max() < 0.1
    assert ids(told) == {0} and gaps(told) == []


@pytest.mark.parametrize("step", [(0, -2), (0, 2), (2, 0), (-2, 1)], ids=str)
def test_a_face_on_its_way_is_followed_wherever_it_goes(step: tuple[int, int]) -> None:
    motions = [astronaut().at((step[0] * index, step[1] * index)) for index in range(40)]
    told = align(film(motions))
    assert off_px(told, motions).max() < 0.5
    assert ids(told) == {0} and gaps(told) == []


@pytest.mark.parametrize(
    "motions",
    [
        [astronaut().at(growth=growth) for growth in np.geomspace(0.8, 2.4, 40)],
        [astronaut().at(growth=growth) for growth in np.geomspace(2.4, 0.8, 40)],
        [astronaut().at(roll=roll) for roll in np.linspace(0, 35, 40)],
    ],
    ids=["nearer", "away", "rolling"],
)
def test_a_face_that_grows_or_rolls_fills_its_crop(motions: list[Motion]) -> None:
    pictures = film(motions)
    told = align(pictures)
    assert off_px(told, motions).max() < 0.25
    for picture, items in zip(pictures, told, strict=True):
        face = faces(items)[0]
        differs = np.abs(face.crop.astype(int) - cut(picture, face)).mean()
        assert differs < 2, (
            "large faces are reduced first, and lose some noise; a border in the crop would be 20 levels"
        )


def test_crop_and_landmarks_are_where_the_transform_says() -> None:
    motions = swaying(20)
    pictures = film(motions)
    for picture, items, motion in zip(pictures, align(pictures), motions, strict=True):
        face = faces(items)[0]
        np.testing.assert_allclose(face.crop.astype(int), cut(picture, face), atol=1)
        away = np.linalg.norm(face.landmarks - apply(motion, astronaut().landmarks), axis=1)
        assert away.mean() < 0.05 * IOD_PX


def test_the_face_lies_in_the_crop_where_crops_hold_faces() -> None:
    motion = astronaut().at()
    face = faces(align([astronaut().shown(motion)])[0])[0]
    assert np.linalg.norm(astronaut().places_px(face, motion) - RIGID_CROP_PX, axis=1).mean() < 0.1 * CROP_IOD_PX


@pytest.mark.parametrize(
    ("size_px", "iod_px", "within_px"),
    [((1280, 960), 360.0, 0.1), ((640, 480), 250.0, 0.1), ((160, 120), 32.0, 0.2), ((80, 60), 18.0, 0.5)],
    ids=["huge", "large", "small", "tiny"],
)
def test_faces_of_all_sizes_are_held_still(size_px: tuple[int, int], iod_px: float, within_px: float) -> None:
    eyes_px = (size_px[0] / 2, 0.42 * size_px[1])
    shifts = [0.1 * iod_px * np.sin(index / 4) for index in range(15)]
    motions = [astronaut().at((shift, shift / 2), eyes_px=eyes_px, iod_px=iod_px) for shift in shifts]
    told = align(film(motions, size_px))
    assert off_px(told, motions).max() < within_px
    assert ids(told) == {0}


@pytest.mark.parametrize(
    ("gain", "offset"),
    [
        (lambda index: 1.0 if index < 15 else 0.6, lambda _: 0),
        (lambda index: np.interp(index, [5, 35], [1.0, 0.4]), lambda _: 0),
        (lambda index: 1.0 + 0.04 * (-1) ** index, lambda _: 0),
        (lambda _: 0.7, lambda index: np.interp(index, [5, 35], [0, 60])),
    ],
    ids=["lamp off", "dusk", "flicker", "fog"],
)
def test_brightness_does_not_move_the_crop(gain: Callable[[int], float], offset: Callable[[int], float]) -> None:
    motions = [astronaut().at()] * 40
    shown = astronaut().shown(motions[0])
    lit = [np.clip(gain(index) * shown + offset(index), 0, 255).astype(np.uint8) for index in range(40)]
    assert off_px(align(noisy(lit)), motions).max() < 0.05


def test_a_face_missed_for_less_than_a_gap_is_bridged() -> None:
    motions = swaying(40)
    pictures = film(motions)
    pictures[20:27] = [BLACK] * 7
    told = align(pictures)
    assert [len(faces(items)) for items in told] == [1] * 20 + [0] * 7 + [1] * 13
    assert ids(told) == {0} and gaps(told) == []
    seen = [index for index in range(40) if faces(told[index])]
    assert off_px([told[index] for index in seen], [motions[index] for index in seen]).max() < 0.1


def test_a_face_missed_for_longer_is_lost_and_told_as_another() -> None:
    pictures = film([astronaut().at()] * 50)
    pictures[20:35] = [BLACK] * 15
    told = align(pictures)
    (gap,) = gaps(told)
    assert (gap.source, gap.reason, gap.face) == ("film", "face_lost", 0)
    assert gap.from_s == pytest.approx(19 / FPS), "the last frame in which it was seen"
    assert gap.to_s == pytest.approx(29 / FPS), "the first frame more than 0.3 s later"
    assert gap in told[29] and not faces(told[29]), "what is lost is not told in the frame of its gap"
    assert ids(told[:20]) == {0} and ids(told[20:35]) == set() and ids(told[35:]) == {1}


def test_patience_is_a_setting() -> None:
    pictures = film([astronaut().at()] * 30)
    pictures[15:21] = [BLACK] * 6
    assert ids(align(pictures)) == {0}
    assert ids(align(pictures, AlignSettings(max_gap_s=0.1))) == {0, 1}


def test_skin_that_landmarks_no_longer_confirm_is_lost_and_not_told_in_the_frame_of_its_gap() -> None:
    x, y = (round(value) for value in EYES_PX)
    shown = astronaut().shown(astronaut().at())
    nose = np.full_like(shown, 128)
    nose[y - 12 : y + 30, x - 18 : x + 18] = shown[y - 12 : y + 30, x - 18 : x + 18]
    told = align(noisy([shown] * 15 + [nose] * 25))
    (gap,) = gaps(told)
    lost = next(index for index, items in enumerate(told) if gap in items)
    assert 0.3 < (lost - 14) / FPS < 0.7
    assert gap.from_s == pytest.approx((lost - 1) / FPS) and gap.to_s == pytest.approx(lost / FPS)
    assert [len(faces(items)) for items in told] == [1] * lost + [0] * (40 - lost)


def test_two_faces_keep_their_numbers_while_they_move() -> None:
    half_px = (SIZE_PX[0] // 2, SIZE_PX[1])
    left = [astronaut().at((8 * np.sin(index / 9), 3), eyes_px=(80, 100), iod_px=45) for index in range(45)]
    right = [astronaut().at((-8 * np.sin(index / 7), -3), eyes_px=(80, 110), iod_px=45) for index in range(45)]
    beside: Motion = np.array([[1.0, 0, half_px[0]], [0, 1, 0]])
    pictures = noisy(
        [
            np.hstack([astronaut().shown(one, half_px), astronaut().shown(other, half_px)])
            for one, other in zip(left, right, strict=True)
        ]
    )
    told = align(pictures, AlignSettings(max_faces=2))
    assert [[face.face for face in faces(items)] for items in told] == [[0, 1]] * 45 and gaps(told) == []
    first_is_left = faces(told[0])[0].landmarks[:, 0].mean() < half_px[0]
    beside_left, beside_right = left, [compose(beside, motion) for motion in right]
    for number, motions in enumerate((beside_left, beside_right) if first_is_left else (beside_right, beside_left)):
        assert off_px([[faces(items)[number]] for items in told], motions).max() < 0.2
    assert [len(faces(items)) for items in align(pictures[:10], AlignSettings(max_faces=1))] == [1] * 10


def test_one_face_is_not_two_where_more_may_be_found() -> None:
    told = align(film(swaying(25)), AlignSettings(max_faces=3))
    assert [len(faces(items)) for items in told] == [1] * 25 and ids(told) == {0}


def test_a_second_face_that_comes_later_is_found_and_the_first_keeps_its_number() -> None:
    half_px = (SIZE_PX[0] // 2, SIZE_PX[1])
    one = astronaut().shown(astronaut().at(eyes_px=(80, 100), iod_px=45), half_px)
    pictures = [np.hstack([one, np.zeros_like(one)])] * 15 + [np.hstack([one, one])] * 25
    told = align(noisy(pictures), AlignSettings(max_faces=2))
    assert ids(told[:15]) == {0} and gaps(told) == []
    assert [face.face for face in faces(told[-1])] == [0, 1]
    assert faces(told[-1])[1].landmarks[:, 0].mean() > half_px[0]


@pytest.mark.parametrize("step", [(7, 0), (-7, 0), (0, -6), (0, 7)], ids=["right", "left", "up", "down"])
def test_a_face_that_leaves_the_picture_is_followed_to_its_border_and_lost(step: tuple[int, int]) -> None:
    motions = [astronaut().at((step[0] * index, step[1] * index)) for index in range(50)]
    pictures = noisy([astronaut().shown(motion, beyond=cv2.BORDER_CONSTANT) for motion in motions])
    told = align(pictures)
    inside = [0 < x < SIZE_PX[0] and 20 < y < SIZE_PX[1] - 40 for x, y in (_eyes(motion) for motion in motions)]
    followed = inside.index(False)
    assert off_px(told[:followed], motions[:followed]).max() < 1.0
    assert ids(told) == {0} and faces(told[-1]) == []
    assert [gap.face for gap in gaps(told)] == [0]


def _eyes(motion: Motion) -> NDArray[np.float64]:
    middle: NDArray[np.float64] = apply(motion, astronaut().landmarks[[33, 263]]).mean(axis=0)
    return middle


@pytest.mark.parametrize("size_px", [(1, 1), (320, 1), (1, 240), (2, 2), (9, 7), (31, 20)], ids=str)
def test_pictures_too_small_for_a_face_show_none(size_px: tuple[int, int]) -> None:
    width, height = size_px
    pictures = [np.full((height, width, 3), level, np.uint8) for level in (0, 120, 255)]
    assert align(pictures) == [[], [], []]


def test_noise_shows_no_face() -> None:
    rng = np.random.default_rng(0)
    assert align(rng.integers(0, 256, (5, 240, 320, 3), dtype=np.uint8)) == [[]] * 5


@pytest.mark.parametrize(
    "reduced", [lambda picture: picture[:1], lambda picture: picture[:, :1], lambda picture: picture[::4, ::4]]
)
def test_a_picture_that_changes_its_size_under_a_face_breaks_nothing(reduced: Callable[[Picture], Picture]) -> None:
    whole = film([astronaut().at()] * 20)
    told = align([*whole[:10], *(reduced(picture) for picture in whole[:12]), *whole])
    assert ids(told[:10]) == {0} and len(faces(told[-1])) == 1


def test_a_flat_picture_under_a_face_is_a_missed_face() -> None:
    told = align([*film([astronaut().at()] * 10), *[np.full_like(BLACK, 130)] * 5])
    assert [len(faces(items)) for items in told] == [1] * 10 + [0] * 5


def test_a_reconnect_begins_anew_without_a_gap_of_its_own() -> None:
    told = align(film(swaying(20)), epochs=[0] * 10 + [1] * 10)
    assert ids(told[:10]) == {0} and ids(told[10:]) == {1}
    assert gaps(told) == [], "the source tells of it"


def test_resetting_forgets_faces_but_not_their_numbers() -> None:
    pictures = film(swaying(4))
    with Aligner(SETTINGS, "film") as aligner:
        for index, picture in enumerate(pictures):
            (face,) = faces(aligner.push(Frame(picture, "film", index, index / FPS, 0.0)))
            assert face.face == index
            aligner.reset()
        assert aligner.flush() == [] and aligner.latency_s == 0.0


@pytest.mark.parametrize("fps", [5.0, 200.0])
def test_slow_and_fast_cameras_are_followed_alike(fps: float) -> None:
    motions = swaying(40, reach_px=2.0)
    told = align(film(motions), fps=fps)
    assert off_px(told, motions).max() < 0.1
    assert ids(told) == {0} and gaps(told) == []


Covers = Callable[[int], tuple[float, float, float, float] | None]


def _between(index: int, away: float, over: float) -> float:
    """Comes over the face within twenty frames, stays for ten, goes back."""
    return float(np.interp(index, [8, 28, 38, 58], [away, over, over, away]))


@pytest.mark.parametrize("reach_px", [0.0, 4.0], ids=["still", "swaying"])
@pytest.mark.parametrize(
    "covered",
    [
        lambda index: (0, 0, _between(index, 70, 160), 240),
        lambda index: (0, _between(index, 220, 122), 320, 240),
        lambda index: (0, 0, 320, _between(index, 40, 104)),
    ],
    ids=["left half", "mouth and nose", "brows and eyes"],
)
def test_what_comes_over_half_of_a_face_moves_its_crop_by_a_few_pixels_at_most(
    covered: Covers, reach_px: float
) -> None:
    motions = swaying(70, reach_px)
    pictures = [astronaut().shown(motion) for motion in motions]
    for index, picture in enumerate(pictures):
        rectangle = covered(index)
        if rectangle is not None:
            left, top, right, bottom = (max(round(edge), 0) for edge in rectangle)
            picture[top:bottom, left:right] = 128
    told = align(noisy(pictures))
    held = [index for index, items in enumerate(told) if any(face.face == 0 for face in faces(items))]
    assert held[:15] == list(range(15))
    assert off_px([told[index] for index in held], [motions[index] for index in held]).max() < 4.0
    assert held[-1] == 69 or gaps(told)[0].face == 0, "it is lost cleanly where it is lost"
    assert faces(told[-1]), "and found again"


@pytest.mark.parametrize("width", [42, 90])
def test_after_a_board_has_passed_over_a_face_the_crop_is_back_in_its_place(width: int) -> None:
    motions = swaying(110, 4.0)
    pictures = [astronaut().shown(motion) for motion in motions]
    for index, picture in enumerate(pictures):
        picture[40:240, max(4 * index - width, 0) : max(4 * index, 0)] = 128
    last = faces(align(noisy(pictures))[-1])
    assert len(last) == 1
    plain = compose(crop_transform(astronaut().landmarks), invert(motions[-1]))
    away = apply(compose(last[0].transform, invert(plain)), RIGID_CROP_PX) - RIGID_CROP_PX
    assert np.linalg.norm(away, axis=1).mean() < 2.5


@pytest.mark.parametrize(
    ("eyes_px", "iod_px"), [((160, 100), 64), ((172, 108), 60), ((200, 130), 64), ((90, 150), 50), ((100, 100), 80)]
)
def test_a_cut_to_another_face_leads_to_where_that_is(eyes_px: tuple[float, float], iod_px: float) -> None:
    motion = mirrored().at(eyes_px=eyes_px, iod_px=iod_px)
    pictures = [*film([astronaut().at()] * 20), *noisy([mirrored().shown(motion)] * 25)]
    told = align(pictures)
    assert len(faces(told[-1])) == 1
    plain = compose(crop_transform(mirrored().landmarks), invert(motion))
    for face in (face for items in told[20:] for face in faces(items)):
        away = apply(compose(face.transform, invert(plain)), RIGID_CROP_PX) - RIGID_CROP_PX
        assert np.linalg.norm(away, axis=1).mean() < 2.5, "landmarks differ by a pixel or two with a picture's size"


def test_a_face_covered_at_rest_is_missed_not_carried_along_by_misled_landmarks() -> None:
    motions = [astronaut().at()] * 40
    pictures = [astronaut().shown(motion) for motion in motions]
    for picture in pictures[15:25]:
        picture[:, :176] = 128
    told = align(noisy(pictures))
    assert ids(told[:15]) == {0}
    assert all(not items or isinstance(items[0], Gap) or items[0].face == 0 for items in told[15:22])
    held = [index for index, items in enumerate(told) if faces(items) and faces(items)[0].face == 0]
    assert off_px([told[index] for index in held], [motions[index] for index in held]).max() < 1.0


def test_inter_ocular_distance_of_told_landmarks_follows_the_face() -> None:
    motions = [astronaut().at(growth=growth) for growth in np.geomspace(1, 1.6, 20)]
    last = faces(align(film(motions))[-1])[0]
    assert inter_ocular_px(last.landmarks) == pytest.approx(1.6 * IOD_PX, rel=0.05)
