"""The same network in two runtimes, over the same frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from gps_denied_inference.cli.demonstration.flight_bag import IMAGE_TOPIC
from gps_denied_inference.core.architectures import default_registry
from gps_denied_inference.core.assembly import assemble_pipeline
from gps_denied_inference.core.contracts import GlobalDescriptor, PrecisionMode, RuntimeLabel
from gps_denied_inference.core.engines import EngineStore, probe_host
from gps_denied_inference.core.engines.build import STAGES, BuildRequest, build_engine
from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.evaluation import RuntimeAgreement, percentiles
from gps_denied_inference.core.replay import BagReader
from gps_denied_inference.core.settings import Settings

__all__ = ["BASELINE", "PRODUCTION", "build_engines", "compare_runtimes"]

PRODUCTION, BASELINE = RuntimeLabel.ONNX_TRT_EP, RuntimeLabel.PYTORCH_FP16
"""What flies in the demo, and what it is compared with."""

_EVERY = 3


def build_engines(folder: Path, jobs: Sequence[tuple[str, RuntimeLabel]], show: Callable[[int], None]) -> None:
    """Prepare engines in FP32: the demo runs on a CPU.

    Args:
        folder: becomes an engine store.
        jobs: registered architectures and their runtimes.
        show: called with the number of stages done, of `len(STAGES)` a job.

    Raises:
        EngineBuildError: the weights or packages are absent, or the export failed.
    """
    registry, store = default_registry(), EngineStore(folder)
    finished = 0

    def follow(stage: str, fraction: float) -> None:
        show(finished + round(STAGES.index(stage) + fraction))

    for model, runtime in jobs:
        request = BuildRequest(model, runtime, PrecisionMode.FP32)
        build_engine(request, store, registry=registry, host=probe_host(), on_progress=follow)
        finished += len(STAGES)
        show(finished)


def compare_runtimes(
    flown: Settings, baseline: Settings, flight_bag: Path, show: Callable[[int], None]
) -> RuntimeAgreement:
    """Take every third frame of a flight through both, one after the other on the same thread.

    A third shows the same agreement, and the baseline is slow on a CPU.

    Args:
        flown: settings of the runtime that flies.
        baseline: of the one that it is compared with.
        flight_bag: frames.
        show: called with the number of frames done.

    Raises:
        InferenceError: a runtime failed, the network has no global descriptor, or the flight is shorter than that.
    """
    cosines: list[float] = []
    infer_ms: tuple[list[float], list[float]] = ([], [])
    with (
        assemble_pipeline(flown) as first,
        assemble_pipeline(baseline) as second,
        BagReader(flight_bag) as reader,
    ):
        if first.model.space_id != second.model.space_id:
            raise InferenceError(
                f"descriptors of {first.model.space_id} and {second.model.space_id} cannot be compared; build both "
                "engines from the same weights"
            )
        for number, image in enumerate(reader.images(reader.choose_image_topic(IMAGE_TOPIC)), 1):
            if number % _EVERY:
                continue
            frame = reader.frame(image)
            results = [pipeline.process(frame) for pipeline in (first, second)]
            for times, result in zip(infer_ms, results, strict=True):
                times.append(result.timings.infer_ms)
            cosines.append(_cosine([result.features for result in results]))
            show(number)
        if not cosines:
            raise InferenceError(f"{flight_bag} has fewer than {_EVERY} frames; fly longer")
        labels = (first.model.runtime_label.value, second.model.runtime_label.value)
    return RuntimeAgreement(
        flown=labels[0],
        baseline=labels[1],
        frames=len(cosines),
        cosine_min=float(np.min(cosines)),  # min() would step over a NaN
        cosine_median=float(np.median(cosines)),
        flown_infer_ms=percentiles(infer_ms[0]),
        baseline_infer_ms=percentiles(infer_ms[1]),
    )


def _cosine(features: Sequence[object]) -> float:
    values = [item.values.astype(np.float64) for item in features if isinstance(item, GlobalDescriptor)]
    if len(values) != len(features):
        raise InferenceError("the comparison of runtimes is of global descriptors; choose a network that gives one")
    first, second = values
    return float(first @ second / np.sqrt((first @ first) * (second @ second)))
