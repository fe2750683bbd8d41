"""Pairs of views of one place, with the homography that relates them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.errors import EvaluationError
from gps_denied_inference.core.flight.camera import NadirCamera, orthophoto_span_m
from gps_denied_inference.core.flight.disturbance import Disturbance, disturb
from gps_denied_inference.core.flight.orthophoto import Orthophoto
from gps_denied_inference.core.flight.pose import CameraPose
from gps_denied_inference.core.flight.season import Season, recolor
from gps_denied_inference.core.optional import require

__all__ = ["CONDITIONS", "MapPart", "ViewCondition", "ViewPair", "part_span_m", "take_view", "view_pairs"]


class MapPart(Enum):
    """Where the centres of views lie, so that what is chosen on one half is reported on the other."""

    WEST = "west"
    EAST = "east"
    ALL = "all"


_PLAIN = Disturbance(1.0, (1.0, 1.0, 1.0), 0.0, 0.0, 1, 0.01, 0.001, 90)
_DULL = Disturbance(1.35, (0.80, 0.86, 0.98), 0.35, 0.18, 3, 0.02, 0.002, 60)
_BRIGHT = Disturbance(0.72, (1.28, 1.18, 1.02), 0.35, 0.06, 3, 0.02, 0.002, 60)


@dataclass(frozen=True, slots=True)
class ViewCondition:
    """What sets the second view apart from the first, which is north-up, level and undisturbed.

    Attributes:
        name: for tables.
        turn_deg: heading of the second view.
        height_ratio: of its height to the first one's.
        tilt_deg: of its pitch and roll.
        season: of its colours.
        light: what its camera adds; two stand for changes either way, taken in turn.
    """

    name: str
    turn_deg: float = 0.0
    height_ratio: float = 1.0
    tilt_deg: float = 0.0
    season: Season = Season.SUMMER
    light: tuple[Disturbance, ...] = (_PLAIN,)


CONDITIONS = (
    ViewCondition("light", light=(_DULL, _BRIGHT)),
    ViewCondition("autumn", season=Season.AUTUMN),
    ViewCondition("winter", season=Season.WINTER),
    ViewCondition("turn 30°", turn_deg=30.0),
    ViewCondition("turn 90°", turn_deg=90.0),
    ViewCondition("height × 1.5", height_ratio=1.5),
    ViewCondition("all, turn 15°", 15.0, 1.25, 3.0, Season.AUTUMN, (_DULL, _BRIGHT)),
)


@dataclass(frozen=True, slots=True, eq=False)
class ViewPair:
    """Two views and the truth.

    Attributes:
        name: of the pair.
        condition: name of what sets them apart.
        first_rgb, second_rgb: (H, W, 3).
        second_from_first: homography (3, 3) of pixels, centres at integers.
    """

    name: str
    condition: str
    first_rgb: NDArray[np.uint8]
    second_rgb: NDArray[np.uint8]
    second_from_first: NDArray[np.float64]


def part_span_m(orthophoto: Orthophoto, part: MapPart, margin_m: float) -> tuple[float, float, float, float]:
    """Return (x_min, x_max, y_min, y_max) of a part of the orthophoto, less a margin to the orthophoto's edges, metres.

    Raises:
        EvaluationError: nothing is left of it.
    """
    x_min, x_max, y_min, y_max = orthophoto_span_m(orthophoto, margin_m)
    if part is MapPart.WEST:
        x_max = min(x_max, orthophoto.width_m / 2)
    elif part is MapPart.EAST:
        x_min = max(x_min, orthophoto.width_m / 2)
    if x_min >= x_max or y_min >= y_max:
        raise EvaluationError(
            f"the orthophoto of {orthophoto.width_m:.0f} by {orthophoto.height_m:.0f} m is too small for views that "
            f"reach {margin_m:.0f} m around their centres; fly lower, or give a larger one"
        )
    return x_min, x_max, y_min, y_max


def view_pairs(
    orthophoto: Orthophoto,
    camera: NadirCamera,
    *,
    height_m: float,
    pairs_per_condition: int,
    part: MapPart = MapPart.ALL,
    seed: int = 1,
) -> Iterator[ViewPair]:
    """Take the pairs, condition by condition. Equal arguments give equal pairs.

    The second view is moved by up to a sixth of the first one's footprint, each way.

    Raises:
        EvaluationError: the orthophoto is too small.
    """
    width_m, depth_m = camera.footprint_m(height_m)
    largest = max(condition.height_ratio for condition in CONDITIONS)
    margin_m = largest * math.hypot(width_m, depth_m) / 2 + math.hypot(width_m, depth_m) / 6
    x_min, x_max, y_min, y_max = part_span_m(orthophoto, part, margin_m)
    for number, condition in enumerate(CONDITIONS):
        for index in range(pairs_per_condition):
            generator = np.random.default_rng([seed, number, index])
            x, y = generator.uniform(x_min, x_max), generator.uniform(y_min, y_max)
            moved_x, moved_y = (
                generator.uniform(-width_m / 6, width_m / 6),
                generator.uniform(-depth_m / 6, depth_m / 6),
            )
            first = CameraPose(0, x, y, height_m, 0.0)
            second = CameraPose(
                0,
                x + moved_x,
                y + moved_y,
                height_m * condition.height_ratio,
                condition.turn_deg,
                condition.tilt_deg * float(generator.choice([-1.0, 1.0])),
                condition.tilt_deg * float(generator.choice([-1.0, 1.0])),
            )
            light = condition.light[index % len(condition.light)]
            yield ViewPair(
                f"{condition.name} {index + 1}",
                condition.name,
                camera.render(orthophoto, first),
                take_view(orthophoto, camera, second, condition.season, light, generator),
                camera.image_from_ground(second) @ np.linalg.inv(camera.image_from_ground(first)),
            )


def take_view(
    orthophoto: Orthophoto,
    camera: NadirCamera,
    pose: CameraPose,
    season: Season,
    light: Disturbance,
    generator: np.random.Generator,
) -> NDArray[np.uint8]:
    """Return what the camera makes of a place in another season and light, RGB, after its compression."""
    cv2 = require("cv2", install="pip install 'opencv-python-headless<5'", purpose="the virtual camera")
    jpeg = disturb(recolor(camera.render(orthophoto, pose), season), light, generator)
    image_bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return np.ascontiguousarray(image_bgr[:, :, ::-1])
