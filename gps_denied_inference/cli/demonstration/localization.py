"""The nodes that make a position of an image: candidates, their order, matches with the best tile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gps_denied_inference.cli.demonstration.node_process import NodeSpec, find_node_executable
from gps_denied_inference.cli.demonstration.runtimes import PRODUCTION
from gps_denied_inference.core.architectures import sized_name
from gps_denied_inference.core.contracts import PrecisionMode
from gps_denied_inference.core.evaluation import RefinementTopics
from gps_denied_inference.core.settings import Settings, settings_from_mapping

__all__ = ["LOCAL_MODEL", "Localization", "local_settings", "plan_localization"]

LOCAL_MODEL = sized_name("xfeat", 288, 384)
"""A third of the work of 480 by 640, and as near: what error is left is the camera's tilt (docs/measurements)."""
_FEATURES = "features"
_EVERY_MESSAGE = {"input_reliability": "reliable", "input_depth": "100", "diagnostics_rate_hz": "5.0"}
"""So that what a busy computer cannot work on is dropped by the node, which counts it, and not by DDS."""


@dataclass(frozen=True, slots=True)
class Localization:
    """What runs behind the node of global descriptors.

    Attributes:
        first_node: parameters of the node of global descriptors, which gives the local features, too.
        nodes: behind it, in the order of their start.
        topics: where they are.
        candidates: of an image that are ranked again.
    """

    first_node: Mapping[str, str]
    nodes: tuple[NodeSpec, ...]
    topics: RefinementTopics
    candidates: int


def local_settings(store: Path, top_k: int) -> Settings:
    """Return the settings of the local features of the map's tiles: those of the frames, with another number of them.

    Args:
        store: with an engine of `LOCAL_MODEL`.
        top_k: keypoints of a tile.
    """
    return settings_from_mapping(
        {
            "engine_store": str(store),
            "allow_cpu_fallback": True,
            **_engine("primary"),
            "primary.intra_op_threads": 1,  # one core a process: see describe_map
            "primary.top_k": top_k,
        }
    )


def plan_localization(index: Path, tile_features: Path, *, candidates: int, keypoints: int) -> Localization:
    """Return the nodes of a map. The store of the first one must hold an engine of `LOCAL_MODEL`.

    Args:
        index, tile_features: files of the map.
        candidates: of an image that are looked up and ranked again.
        keypoints: of a frame.

    Raises:
        ReplayError: a node is not built.
    """
    recognition = NodeSpec(
        "/place_recognition_node",
        find_node_executable("place_recognition_node"),
        {"index": str(index), "tile_features": str(tile_features), "top_k": str(candidates), **_EVERY_MESSAGE},
    )
    matching = NodeSpec(
        "/matcher_node",
        find_node_executable("matcher_node"),
        {
            "matcher": "mutual_nearest",
            "tile_features": str(tile_features),
            # Features wait here while their candidates are ranked.
            "max_frame_age_ms": "5000.0",
            **_EVERY_MESSAGE,
        },
        {"local_features": f"{_FEATURES}/local_features", "place_candidates": "reranked_candidates"},
    )
    return Localization(
        _features_engine(keypoints),
        (recognition, matching),
        RefinementTopics(
            features=f"/{_FEATURES}/local_features",
            features_health=f"/{_FEATURES}/engine_health",
            candidates="/place_candidates",
            rerank=f"{recognition.name}/rerank",
            reranked="/reranked_candidates",
            matches="/feature_matches",
            tasks=(f"{recognition.name}: recognition", f"{matching.name}: matching"),
        ),
        candidates,
    )


def _features_engine(keypoints: int) -> dict[str, str]:
    """Parameters of a second engine in the process of the first: one camera, one decoding."""
    return {
        "engines": f"['primary', '{_FEATURES}']",
        # The descriptor is due first: all that follows waits for it.
        "primary.priority": "1",
        **_engine(_FEATURES),
        f"{_FEATURES}.device": "cpu",
        f"{_FEATURES}.intra_op_threads": "1",  # the rest of the chain needs the other cores
        f"{_FEATURES}.top_k": str(keypoints),
    }


def _engine(name: str) -> dict[str, str]:
    return {
        f"{name}.model": LOCAL_MODEL,
        f"{name}.runtime": PRODUCTION.value,
        f"{name}.precision": PrecisionMode.FP32.value,
    }
