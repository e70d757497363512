"""Where motion is measured: regions of the face by name, and the rigid regions that tell the head's own motion.

Each region is a round window around points of the MediaPipe mesh. Left and right are the viewer's.
"""

from collections.abc import Mapping
from dataclasses import dataclass

WINDOW_IOD = 0.075
"""Standard deviation of a region's Gaussian window."""


@dataclass(frozen=True)
class Region:
    """One window on the face."""

    landmarks: tuple[int, ...]
    """Points of the mesh whose mean is its middle."""
    place: str
    """What users call it: parts of a brow are one brow."""
    depth_iod: float
    """How far behind the outer eye corners it lies, negative in front: the depth of the mesh, median of portraits."""


def _sided(
    name: str, left: tuple[int, ...], right: tuple[int, ...], depth_iod: float, place: str = ""
) -> dict[str, Region]:
    return {
        f"{name}_{side}": Region(points, f"{place or name}_{side}", depth_iod)
        for side, points in (("left", left), ("right", right))
    }


EXPRESSIVE: Mapping[str, Region] = {
    **_sided("brow_inner", (107, 55), (336, 285), -0.26, "brow"),
    **_sided("brow_middle", (66, 65), (296, 295), -0.22, "brow"),
    **_sided("brow_outer", (63, 53), (293, 283), -0.12, "brow"),
    "glabella": Region((9,), "glabella", -0.28),
    **_sided("upper_lid", (159,), (386,), -0.09),
    **_sided("lower_lid", (23, 230), (253, 450), -0.08),
    **_sided("cheek", (117, 50), (346, 280), -0.02),
    **_sided("nasolabial", (205,), (425,), -0.1),
    **_sided("nose_wing", (129,), (358,), -0.15),
    **_sided("upper_lip", (39, 165), (269, 391), -0.18),
    "upper_lip": Region((0, 164), "upper_lip", -0.25),
    **_sided("mouth_corner", (61,), (291,), 0.01),
    **_sided("lower_lip", (202,), (422,), 0.04),
    "lower_lip": Region((17,), "lower_lip", -0.18),
    "chin": Region((199,), "chin", -0.11),
}
"""What expressions move."""

RIGID_REGIONS: Mapping[str, Region] = {
    "nose_bridge": Region((168, 6), "nose", -0.28),
    "nose_ridge": Region((197, 195), "nose", -0.38),
    **_sided("nose_side", (114,), (343,), -0.18, "nose"),
    **_sided("eye_inner", (133, 243), (362, 463), -0.06),
    **_sided("eye_outer", (33,), (263,), 0.0),
}
"""What no expression moves, or hardly."""

REGIONS: tuple[str, ...] = tuple(EXPRESSIVE)
"""Names of the rows of every array of regional motion."""

ALL: Mapping[str, Region] = {**EXPRESSIVE, **RIGID_REGIONS}

GROUPS: tuple[tuple[str, ...], ...] = (
    *(
        tuple(f"{name}_{side}" for name in names)
        for side in ("left", "right")
        for names in (
            ("brow_inner", "brow_middle", "brow_outer"),
            ("brow_inner", "brow_middle"),
            ("brow_middle", "brow_outer"),
            ("cheek", "nasolabial", "lower_lid"),
            ("mouth_corner", "nasolabial", "upper_lip"),
            ("mouth_corner", "lower_lip", "upper_lip"),
            ("mouth_corner", "lower_lip"),
            ("nose_wing", "upper_lip"),
        )
    ),
    ("brow_inner_left", "brow_inner_right", "glabella"),
    ("upper_lip", "upper_lip_left", "upper_lip_right"),
    ("lower_lip", "lower_lip_left", "lower_lip_right", "chin"),
    ("lower_lip", "chin"),
)
"""Neighbours that one muscle moves the same way, after the Facial Action Coding System."""

LID_DRAG: Mapping[str, float] = {"upper_lid": 1.0, "lower_lid": 0.7, "brow": 0.2, "cheek": 0.12, "glabella": 0.12}
"""How much of a lid's motion the places around it may show in a blink: standard deviation."""
LID_DRAG_ELSEWHERE = 0.05


def lid_drag(name: str) -> float:
    """`LID_DRAG` of a region."""
    return next((share for place, share in LID_DRAG.items() if name.startswith(place)), LID_DRAG_ELSEWHERE)
