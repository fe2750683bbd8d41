"""Every frame of a bag through the pipeline, one after the other: no DDS, no clock, no drops but broken frames."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from gps_denied_inference.core.contracts import (
    DropReason,
    Features,
    GlobalDescriptor,
    OutputKind,
    StageTimings,
)
from gps_denied_inference.core.errors import (
    ImageDecodeError,
    InferenceError,
    NonFiniteOutputError,
    OutOfMemoryError,
    ReplayError,
)
from gps_denied_inference.core.interface import features_message, model_info_message
from gps_denied_inference.core.pipeline import FrameLedger, ModelIdentity, Pipeline, PipelineResult
from gps_denied_inference.core.replay.bag_reader import BagImage, BagReader, ImageTopic
from gps_denied_inference.core.replay.bag_writer import BagTopic, BagWriter, TopicQos

__all__ = ["OfflineReplay", "OfflineReport", "ReplayedFrame", "features_sha256", "output_topics"]

_MODEL_INFO = "/model_info"


@dataclass(frozen=True, slots=True)
class ReplayedFrame:
    """What became of one image.

    Attributes:
        index: position in the topic, from 0.
        recorded_ns: the bag's time.
        stamp_ns: of the image's header; None when its message is broken.
        sha256: of its features, lower-case hex; None when it was dropped.
        drop_reason: None when it was processed.
        error: why it was dropped.
        timings: None when it was dropped.
    """

    index: int
    recorded_ns: int
    stamp_ns: int | None
    sha256: str | None
    drop_reason: DropReason | None
    error: str
    timings: StageTimings | None


@dataclass(frozen=True, slots=True)
class OfflineReport:
    """What became of a whole bag.

    Attributes:
        topic: what was replayed.
        model: what processed it.
        frames: one entry an image, in recorded order.
        dropped: by reason; every reason is listed.
        interruption: why the replay ended before the end of the topic; empty when it did not.
    """

    topic: ImageTopic
    model: ModelIdentity
    frames: tuple[ReplayedFrame, ...]
    dropped: Mapping[DropReason, int]
    interruption: str

    @property
    def published(self) -> int:
        return len(self.frames) - sum(self.dropped.values())

    @property
    def sha256(self) -> str:
        """Hash over the frames' hashes, in order: equal for equal results."""
        return hashlib.sha256("\n".join(frame.sha256 or "-" for frame in self.frames).encode()).hexdigest()


def features_sha256(features: Features) -> str:
    """Return the hash of the features' bytes (little-endian float32, shapes included), lower-case hex."""
    arrays = (
        [features.values]
        if isinstance(features, GlobalDescriptor)
        else [features.keypoints_px, features.scores, features.descriptors]
    )
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array, "<f4").tobytes())
    return digest.hexdigest()


def output_topics(kind: OutputKind) -> tuple[BagTopic, BagTopic]:
    """Return the topics of an output bag: features first, model info second."""
    name = "GlobalDescriptor" if kind is OutputKind.GLOBAL_DESCRIPTOR else "LocalFeatures"
    return (
        BagTopic(f"/{kind.value}", f"gps_denied_inference/msg/{name}"),
        BagTopic(_MODEL_INFO, "gps_denied_inference/msg/ModelInfo", TopicQos(depth=1, is_latched=True)),
    )


class OfflineReplay:
    """Replays one topic of a bag.

    Args:
        reader: an open bag.
        topic: of its images.
        pipeline: processes them; stays open.
        writer: takes the results, with the topics of `output_topics`; None writes nothing.
        on_frame: called after each image, for progress.
    """

    def __init__(
        self,
        reader: BagReader,
        topic: ImageTopic,
        pipeline: Pipeline,
        *,
        writer: BagWriter | None = None,
        on_frame: Callable[[ReplayedFrame], None] | None = None,
    ) -> None:
        self._reader = reader
        self._topic = topic
        self._pipeline = pipeline
        self._writer = writer
        self._on_frame = on_frame
        self._ledger = FrameLedger()
        self._output = output_topics(pipeline.model.spec.output_kind)[0].name

    def run(self) -> OfflineReport:
        """Replay to the end, or to the first damage of the bag; the report says which.

        Raises:
            ReplayError: the output cannot be written.
        """
        frames: list[ReplayedFrame] = []
        images = self._reader.images(self._topic)
        interruption = ""
        while True:
            try:
                image = next(images, None)
            except ReplayError as error:
                interruption = str(error)
                break
            if image is None:
                break
            if not frames:
                self._write_model_info(image.recorded_ns)
            frames.append(self._replay(len(frames), image))
            if self._on_frame is not None:
                self._on_frame(frames[-1])
        return OfflineReport(
            self._topic, self._pipeline.model, tuple(frames), self._ledger.counts().dropped, interruption
        )

    def _replay(self, index: int, image: BagImage) -> ReplayedFrame:
        self._ledger.receive()
        stamp_ns = None
        try:
            frame = self._reader.frame(image)
            stamp_ns = frame.stamp_ns
            result = self._pipeline.process(frame)
        except (ReplayError, ImageDecodeError) as error:
            return self._drop(index, image, stamp_ns, DropReason.UNDECODABLE, error)
        except NonFiniteOutputError as error:
            return self._drop(index, image, stamp_ns, DropReason.NOT_FINITE, error)
        except (InferenceError, OutOfMemoryError) as error:
            return self._drop(index, image, stamp_ns, DropReason.FAILED, error)
        self._write_features(image.recorded_ns, result)
        self._ledger.publish()
        return ReplayedFrame(
            index, image.recorded_ns, stamp_ns, features_sha256(result.features), None, "", result.timings
        )

    def _drop(
        self, index: int, image: BagImage, stamp_ns: int | None, reason: DropReason, error: Exception
    ) -> ReplayedFrame:
        self._ledger.drop(reason)
        return ReplayedFrame(index, image.recorded_ns, stamp_ns, None, reason, str(error), None)

    def _write_model_info(self, recorded_ns: int) -> None:
        if self._writer is not None:
            message = model_info_message(self._writer.factory, self._pipeline.model, stamp_ns=recorded_ns, camera_id="")
            self._writer.write(_MODEL_INFO, recorded_ns, message)

    def _write_features(self, recorded_ns: int, result: PipelineResult) -> None:
        if self._writer is not None:
            message = features_message(
                self._writer.factory,
                result,
                camera_id="",
                dropped_since_last=self._ledger.take_dropped_since_last(),
                is_throttling=self._pipeline.thermal_state().thermal_throttle_active,
            )
            self._writer.write(self._output, recorded_ns, message)
