"""The lifecycle node that draws what was found in the images, while somebody looks."""

from __future__ import annotations

import time
from array import array
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
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
    points_from_message,
    stamp_ns_from_message,
)
from gps_denied_inference.core.pipeline import FoundImage, FoundImages, FrameCounts, Processor
from gps_denied_inference.core.settings import SettingField
from gps_denied_inference.ros.parameters import NodeParameters
from gps_denied_inference.ros.worker_node import WorkerNode
from gps_denied_inference.ros.worker_parameters import WORKER_FIELDS, fields_named

__all__ = ["DEBUG_OVERLAY_FIELDS", "DebugOverlayNode"]

_KEPT = 16
"""Images that are held for what is found in them: half a second at 30 Hz."""

_REFINED = "refinement/feature_matches"

DEBUG_OVERLAY_FIELDS: tuple[SettingField, ...] = (
    *fields_named("image_transport"),
    SettingField(
        "max_width_px", 960, "A wider image is made smaller, pixels.", minimum=64, maximum=8192, is_dynamic=True
    ),
    SettingField("jpeg_quality", 80, "Quality of the JPEG.", minimum=1, maximum=100, is_dynamic=True),
    *WORKER_FIELDS,
)


_Found = FoundImage[Any, Any]
"""An image's message, and those of what was found in it, by topic."""


@dataclass(frozen=True, slots=True)
class _Picture:
    header: Any
    jpeg: NDArray[np.uint8]
    timings: StageTimings
    is_drawn_again: bool


class DebugOverlayNode(WorkerNode[_Found, _Picture]):
    """Subscribes images and what was found in them; publishes `debug_overlay/compressed`.

    What was found comes on `local_features`, `feature_matches`, `refinement/feature_matches` and `place_candidates`.

    A process of its own, with a thread that draws the newest alone: nothing waits for it. An image waits until
    something is found in it, or until there are 16 newer ones: then it is counted as unpaired. It is drawn again when
    more is found later, and counted once all the same. While nobody subscribes to the overlay, images are let go as
    they come, and counted as inactive.

    Args:
        name: of the node, unless remapped.

    Raises:
        SettingsError: a parameter override is wrong.
    """

    _is_unpaired_normal = True  # a network that takes every third image

    def __init__(self, name: str = "debug_overlay_node", **node_options: Any) -> None:
        self._images: FoundImages[Any, Any] = FoundImages(_KEPT)
        self._drawn_again = 0
        super().__init__(name, task="overlay", resource_task="viewers", **node_options)

    def _declare_parameters(self) -> NodeParameters:
        return NodeParameters(self, fields=DEBUG_OVERLAY_FIELDS)

    def _load(self) -> Processor[_Found, _Picture]:
        self._drawn_again = 0
        return _Painter(self._node_parameters)

    def deactivate(self) -> None:
        self._forget()
        super().deactivate()

    def _unload(self) -> None:
        self._images.clear()

    def _subscribe(self) -> None:
        if self._node_parameters.text("image_transport") == "compressed":
            self._listen(CompressedImage, "image/compressed", self._on_image)
        else:
            self._listen(Image, "image", self._on_image)
        for kind, topic in (
            (messages.LocalFeatures, "local_features"),
            (messages.FeatureMatches, "feature_matches"),
            (messages.FeatureMatches, _REFINED),
            (messages.PlaceCandidates, "place_candidates"),
        ):
            self._listen(kind, topic, lambda message, topic=topic: self._on_finding(topic, message))

    def _on_image(self, message: Any) -> None:
        self._last_received_ns = time.monotonic_ns()
        if self._is_drawing():
            self._offer(self._images.add_image(stamp_ns_from_message(message), message))
            self._count_out(self._images.take_let_go(), DropReason.UNPAIRED)
        else:
            self._count_out(1, DropReason.INACTIVE)

    def _on_finding(self, topic: str, message: Any) -> None:
        if self._is_drawing():
            self._offer(self._images.add_finding(stamp_ns_from_message(message), topic, message))
            self._count_out(self._images.take_let_go(), DropReason.UNPAIRED)

    def _is_drawing(self) -> bool:
        """Whether the node is active and somebody looks. What waited is let go when not."""
        is_drawing = self._worker is not None and self._worker.is_running and self._viewers > 0
        if not is_drawing:
            self._forget()
        return is_drawing

    def _offer(self, found: _Found) -> None:
        if found.is_ready and not found.is_handed_over:
            found.is_handed_over = True
            self._submit(found)
        elif found.is_taken:  # while it waits, what is added will be drawn with it
            assert self._worker is not None
            self._worker.submit_again(found)

    def _forget(self) -> None:
        self._count_out(self._images.clear() + self._images.take_let_go(), DropReason.INACTIVE)

    def _counts(self) -> FrameCounts:
        self._is_drawing()
        counts, waiting = super()._counts(), self._images.waiting_count
        return replace(counts, received=counts.received + waiting, pending=counts.pending + waiting)

    def _publish(self, result: _Picture) -> None:
        super()._publish(result)
        self._drawn_again += result.is_drawn_again

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
        values = {"viewers": str(viewers), "drawn_again": str(self._drawn_again)}
        return TaskStatus("viewers", Level.OK, f"{viewers} subscribers of the overlay", values)


class _Painter:
    """Satisfies `Processor`."""

    def __init__(self, parameters: NodeParameters) -> None:
        self._parameters = parameters

    def warm_up_thread(self) -> None:
        """Nothing to do."""

    def process(self, frame: _Found, received_ns: int | None = None, /) -> _Picture:
        start_ns = time.monotonic_ns()
        # First said, then read: what is added from now on asks for another drawing.
        is_drawn_again, frame.is_taken = frame.is_taken, True
        found = dict(frame.found)
        message: Any = frame.image
        is_compressed = isinstance(message, CompressedImage)
        image = (compressed_frame_from_message if is_compressed else image_frame_from_message)(message)
        image_rgb = decode(image, ColorSpace.RGB)
        decoded_ns = time.monotonic_ns()
        jpeg = draw_overlay(
            image_rgb,
            _content(found),
            max_width_px=self._parameters.count("max_width_px"),
            jpeg_quality=self._parameters.count("jpeg_quality"),
        )
        end_ns = time.monotonic_ns()
        first_ns = start_ns if received_ns is None else received_ns
        return _Picture(
            message.header,
            jpeg,
            StageTimings(
                wait_ms=(start_ns - first_ns) / 1e6,
                decode_ms=(decoded_ns - start_ns) / 1e6,
                preprocess_ms=0.0,
                infer_ms=0.0,
                postprocess_ms=(end_ns - decoded_ns) / 1e6,
                total_ms=(end_ns - first_ns) / 1e6,
            ),
            is_drawn_again,
        )


def _content(found: Mapping[Hashable, Any]) -> OverlayContent:
    features, matched, refined, places = (
        found.get(topic) for topic in ("local_features", "feature_matches", _REFINED, "place_candidates")
    )
    if matched is not None and points_from_message(matched) is not None:
        refined, matched = matched if refined is None else refined, None  # remapped: its rows are not the keypoints'
    return OverlayContent(
        features=None if features is None else local_features_from_message(features),
        matches=None if matched is None else matches_from_message(matched),
        is_inlier=None if matched is None else geometry_from_message(matched).is_inlier,
        places=None if places is None else place_recognition_from_message(places),
        points=None if refined is None else points_from_message(refined),
        is_inlier_point=None if refined is None else geometry_from_message(refined).is_inlier,
    )
