"""Parameters of the refinement node."""

from __future__ import annotations

from dataclasses import replace

from gps_denied_inference.core.settings import SettingField
from gps_denied_inference.ros.matcher_parameters import MATCHING_FIELDS, matching_engine_fields
from gps_denied_inference.ros.worker_parameters import WORKER_FIELDS, fields_named

__all__ = ["REFINEMENT_ENGINE_FIELDS", "REFINEMENT_FIELDS"]

_DEADLINE_MS = 30000.0
"""All of an image's candidates, on a processor alone."""

REFINEMENT_FIELDS: tuple[SettingField, ...] = (
    SettingField(
        "index",
        "",
        "Path of the map's index, which `gdi index build` wrote: the one of the place recognition node.",
    ),
    SettingField(
        "maps",
        (),
        "Paths of the maps that the index was built from, in any order; their content is compared with what the index "
        "says. They stay in memory, 3 bytes a pixel.",
    ),
    SettingField(
        "tile_pixels",
        480,
        "Shorter side of a tile's picture, pixels of second_px and of the homography.",
        minimum=32,
        maximum=4096,
    ),
    SettingField(
        "candidates",
        1,
        "How many of an image's place_candidates are matched, best first; that with most inliers is published. Each "
        "takes the network once.",
        minimum=1,
        maximum=100,
        is_dynamic=True,
    ),
    SettingField(
        "refine_below_inliers",
        0,
        "Only images whose feature_matches (of the matcher node) have fewer inliers than this go through the network, "
        "the others are counted as not_needed; 0, or while nobody publishes feature_matches: every image that has "
        "candidates.",
        minimum=0,
        maximum=4096,
    ),
    SettingField(
        "inlier_threshold_px",
        3.0,
        "Largest noise of a true match, pixels of the tile's picture.",
        minimum=0.1,
        maximum=100.0,
        is_dynamic=True,
    ),
    SettingField(
        "max_waiting_images",
        16,
        "Images that wait for their place_candidates, and as many that wait for their feature_matches: half a second "
        "at 30 Hz. The oldest give way, as unpaired. Each takes its own size in memory.",
        minimum=1,
        maximum=100,
    ),
    replace(fields_named("engines")[0], description="Names of the engines to load; exactly one."),
    *(replace(item, default=_DEADLINE_MS) if item.name == "infer_deadline_ms" else item for item in MATCHING_FIELDS),
    *fields_named(
        "camera_id", "image_transport", "input_min_rate_hz", "input_max_jitter_ms", "input_future_tolerance_ms"
    ),
    *WORKER_FIELDS,
)

REFINEMENT_ENGINE_FIELDS = matching_engine_fields("efficient_loftr")
