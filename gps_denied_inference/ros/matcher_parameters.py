"""Parameters of the matcher node."""

from __future__ import annotations

from dataclasses import replace

from gps_denied_inference.core.settings import ENGINE_FIELDS, SettingField
from gps_denied_inference.ros.worker_parameters import WORKER_FIELDS, fields_named

__all__ = ["MATCHER_ENGINE_FIELDS", "MATCHER_FIELDS", "MATCHING_FIELDS", "matching_engine_fields"]

MATCHING_FIELDS: tuple[SettingField, ...] = (
    *fields_named(
        "weights_dir",
        "engine_store",
        "require_signature",
        "trusted_keys",
        "gpu_memory_budget_bytes",
        "fidelity_min_repeatability",
        "allow_cpu_fallback",
        "allow_ungated",
        "enabled_runtimes",
        "architecture_modules",
        "accepted_licenses",
        "per_frame_debug_log",
    ),
    replace(
        fields_named("infer_deadline_ms")[0],
        description="Work on one image that takes longer, ms, is abandoned and the engine loaded again; the second "
        "time the process ends, for its supervisor to start it anew. 0: never.",
    ),
)
"""Of the network of a node that matches."""


def matching_engine_fields(default_model: str) -> tuple[SettingField, ...]:
    """Return the parameters of the engine of a node that matches."""
    return tuple(
        replace(item, default=default_model) if item.name == "model" else item
        for item in ENGINE_FIELDS
        if item.name not in ("resize_mode", "top_k")  # of networks that take one image
    )


MATCHER_FIELDS: tuple[SettingField, ...] = (
    SettingField(
        "matcher",
        "network",
        "network: the one of primary.model, which must be of the features' family; mutual_nearest: none.",
        choices=("network", "mutual_nearest"),
    ),
    SettingField(
        "min_similarity",
        0.0,
        "Smallest cosine of a pair. mutual_nearest only.",
        minimum=-1.0,
        maximum=1.0,
        is_dynamic=True,
    ),
    SettingField(
        "max_ratio",
        1.0,
        "Largest ratio of the distances to the nearest and second nearest; 1: any. mutual_nearest only.",
        minimum=0.01,
        maximum=1.0,
        is_dynamic=True,
    ),
    SettingField(
        "refine_below_inliers",
        0,
        "Where mutual_nearest leaves fewer inliers than this, the network of primary.model matches once more, and what "
        "has more of them counts; 0: never, and no network is loaded. mutual_nearest only.",
        minimum=0,
        maximum=4096,
    ),
    SettingField(
        "geometry",
        "homography",
        "What true matches agree on. homography: a flat scene. essential_matrix: any scene, seen twice by one camera "
        "whose images are free of lens distortion and whose camera_*_px are set; over flat ground it is ambiguous.",
        choices=("homography", "essential_matrix"),
    ),
    SettingField(
        "camera_focal_px",
        0.0,
        "Focal length, pixels of the original image; 0: unknown. essential_matrix only.",
        minimum=0.0,
        maximum=100000.0,
    ),
    SettingField(
        "camera_center_x_px",
        0.0,
        "Column of the principal point, pixels of the original image. essential_matrix only.",
        minimum=0.0,
        maximum=100000.0,
    ),
    SettingField(
        "camera_center_y_px",
        0.0,
        "Row of the principal point, pixels of the original image. essential_matrix only.",
        minimum=0.0,
        maximum=100000.0,
    ),
    SettingField(
        "inlier_threshold_px",
        3.0,
        "Largest noise of a true match, pixels of the second image; of an essential matrix the largest distance from "
        "the epipolar line.",
        minimum=0.1,
        maximum=100.0,
        is_dynamic=True,
    ),
    SettingField(
        "tile_features",
        "",
        "Path of the local features of a map's tiles (`gdi index build --local-model`): features are matched with the "
        "best tile of the place_candidates of their stamp, instead of reference_features. Empty: reference_features.",
    ),
    replace(
        fields_named("engines")[0], description="Names of the engines to load; exactly one. Not used by mutual_nearest."
    ),
    *MATCHING_FIELDS,
    *WORKER_FIELDS,
)

MATCHER_ENGINE_FIELDS = matching_engine_fields("lighterglue_xfeat")
