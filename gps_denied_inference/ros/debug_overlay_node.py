"""The lifecycle node that draws what was found in the images, while somebody looks."""

from __future__ import annotations

import time
from array import array
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

import gps_denied_inference.msg as messages
from gps_denied_inference.core.contracts import ColorSpace, DropReason, StageTimings
from gps_denied_inference.core.health import Level, TaskStatus
from gps_denied_inference.core.imaging import decode
from gps_denied_inference.core.imaging.overlay import OverlayContent, draw_overlay
from gps_denied_inference.core.interface import (
    compressed_frame_from_message,
    geometry_from_message,
    image_frame_from_message,
    local_features_from_message,
    matches_from_message,
    place_recognition_from_message,
    stamp_ns_from_message,
)
from gps_denied_inference.core.pipeline import Processor
from gps_denied_inference.core.settings import SettingField
from gps_denied_inference.ros.parameters import NodeParameters
from gps_denied_inference.ros.worker_node import WorkerNode
from gps_denied_inference.ros.worker_parameters import WORKER_FIELDS, fields_named

__all__ = ["DEBUG_OVERLAY_FIELDS", "DebugOverlayNode"]

_KEPT = 16
"""Images that wait for what is found in them: half a second at 30 Hz."""

DEBUG_OVERLAY_FIELDS: tuple[SettingField, ...] = (
    *fields_named("image_transport"),
    SettingField(
        "max_width_px", 960, "A wider image is made smaller, pixels.", minimum=64, maximum=8192, is_dynamic=True
    ),
    SettingField("jpeg_quality", 80, "Quality of the JPEG.", minimum=1, maximum=100, is_dynamic=True),
    *WORKER_FIELDS,
)


@dataclass(slots=True)
class _Findings:
    """Messages of one image, by topic."""

    image: Any = None
    found: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Picture:
    header: Any
    jpeg: NDArray[np.uint8]
    timings: StageTimings


class DebugOverlayNode(WorkerNode[_Findings, _Picture]):
    """Subscribes images, `local_features`, `feature_matches`, `place_candidates`; publishes `debug_overlay/compressed`.

    A process of its own, with a thread that draws the newest alone: nothing waits for it. While nobody subscribes to
    the overlay, images are let go as they come.

    Args:
        name: of the node, unless remapped.

    Raises:
        SettingsError: a parameter override is wrong.
    """

    def __init__(self, name: str = "debug_overlay_node", **node_options: Any) -> None:
        self._findings: OrderedDict[int, _Findings] = OrderedDict()
        super().__init__(name, task="overlay", resource_task="viewers", **node_options)

    def _declare_parameters(self) -> NodeParameters:
        return NodeParameters(self, fields=DEBUG_OVERLAY_FIELDS)

    def _load(self) -> Processor[_Findings, _Picture]:
        return _Painter(self._node_parameters)

    def _unload(self) -> None:
        self._findings.clear()

    def _subscribe(self) -> None:
        if self._node_parameters.text("image_transport") == "compressed":
            self._listen(CompressedImage, "image/compressed", self._on_image)
        else:
            self._listen(Image, "image", self._on_image)
        for kind, topic in (
            (messages.LocalFeatures, "local_features"),
            (messages.FeatureMatches, "feature_matches"),
            (messages.PlaceCandidates, "place_candidates"),
        ):
            self._listen(kind, topic, lambda message, topic=topic: self._on_finding(topic, message))

    def _on_image(self, message: Any) -> None:
        self._last_received_ns = time.monotonic_ns()
        findings = self._findings_of(message)
        if findings is not None:
            findings.image = message
            self._offer(findings)

    def _on_finding(self, topic: str, message: Any) -> None:
        findings = self._findings_of(message)
        if findings is not None:
            findings.found[topic] = message
            self._offer(findings)

    def _findings_of(self, message: Any) -> _Findings | None:
        """What is known of the message's image; None while nobody looks."""
        if not self._viewers:
            self._findings.clear()
            return None
        findings = self._findings.setdefault(stamp_ns_from_message(message), _Findings())
        while len(self._findings) > _KEPT:
            self._findings.popitem(last=False)
        return findings

    def _offer(self, findings: _Findings) -> None:
        if findings.image is not None and findings.found:
            # A copy: more may be found while it is drawn.
            self._submit(_Findings(findings.image, dict(findings.found)))

    @property
    def _viewers(self) -> int:
        return 0 if self._result_publisher is None else int(self._result_publisher.get_subscription_count())

    @property
    def _output(self) -> tuple[Any, str]:
        return CompressedImage, "debug_overlay/compressed"

    def _message(self, result: _Picture, dropped: Mapping[DropReason, int]) -> Any:  # noqa: ARG002
        return CompressedImage(header=result.header, format="jpeg", data=array("B", result.jpeg.tobytes()))

    def _timings(self, result: _Picture) -> StageTimings:
        return result.timings

    def _resource_status(self) -> TaskStatus:
        viewers = self._viewers
        return TaskStatus("viewers", Level.OK, f"{viewers} subscribers of the overlay", {"viewers": str(viewers)})


class _Painter:
    """Satisfies `Processor`."""

    def __init__(self, parameters: NodeParameters) -> None:
        self._parameters = parameters

    def warm_up_thread(self) -> None:
        """Nothing to do."""

    def process(self, frame: _Findings, received_ns: int | None = None, /) -> _Picture:
        start_ns = time.monotonic_ns()
        is_compressed = isinstance(frame.image, CompressedImage)
        image = (compressed_frame_from_message if is_compressed else image_frame_from_message)(frame.image)
        image_rgb = decode(image, ColorSpace.RGB)
        decoded_ns = time.monotonic_ns()
        jpeg = draw_overlay(
            image_rgb,
            _content(frame.found),
            max_width_px=self._parameters.count("max_width_px"),
            jpeg_quality=self._parameters.count("jpeg_quality"),
        )
        end_ns = time.monotonic_ns()
        first_ns = start_ns if received_ns is None else received_ns
        return _Picture(
            frame.image.header,
            jpeg,
            StageTimings(
                wait_ms=(start_ns - first_ns) / 1e6,
                decode_ms=(decoded_ns - start_ns) / 1e6,
                preprocess_ms=0.0,
                infer_ms=0.0,
                postprocess_ms=(end_ns - decoded_ns) / 1e6,
                total_ms=(end_ns - first_ns) / 1e6,
            ),
        )


def _content(found: Mapping[str, Any]) -> OverlayContent:
    features, matched, places = (
        found.get(topic) for topic in ("local_features", "feature_matches", "place_candidates")
    )
    return OverlayContent(
        features=None if features is None else local_features_from_message(features),
        matches=None if matched is None else matches_from_message(matched),
        is_inlier=None if matched is None else geometry_from_message(matched).is_inlier,
        places=None if places is None else place_recognition_from_message(places),
    )
