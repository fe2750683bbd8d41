"""How near an engine's features are to those of the FP32 network, on real images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import (
    ArchitectureSpec,
    EngineHandle,
    LocalFeatures,
    OutputKind,
    ResizeMode,
)
from gps_denied_inference.core.engines.golden import GoldenSet, image_for
from gps_denied_inference.core.engines.golden_pairs import compare_pairs
from gps_denied_inference.core.errors import EngineFidelityError, GpsDeniedInferenceError, NonFiniteOutputError
from gps_denied_inference.core.features import global_descriptor_from_output, local_features_from_outputs
from gps_denied_inference.core.features.finite import require_finite
from gps_denied_inference.core.imaging import PixelTransform, Preprocessor
from gps_denied_inference.core.runtime import InferenceRuntime

__all__ = ["REPEATABILITY_RADIUS_PX", "FidelityReport", "measure_fidelity"]

REPEATABILITY_RADIUS_PX = 3.0
"""A keypoint within this distance, in pixels of the original image, is the same one (as in HPatches)."""

_PAIR_METRIC = "cosine of matching scores"


@dataclass(frozen=True, slots=True)
class FidelityReport:
    """What was measured. An engine that returned NaN or Inf has a minimum of NaN, which no threshold admits.

    Attributes:
        metric: `descriptor cosine`, `cosine of matched descriptors` or `cosine of matching scores`.
        minimum, mean: cosine to the reference, -1..1, over the images; for local features an image's value is the
            mean over the keypoints that were found again.
        repeatability: smallest share of a reference image's keypoints, or of a pair's matches, that were found again;
            NaN for global descriptors.
        count: images, or pairs.
        complaint: why an image has no value; empty when each has one.
    """

    metric: str
    minimum: float
    mean: float
    repeatability: float
    count: int
    complaint: str = ""

    @property
    def is_of_pairs(self) -> bool:
        """The network matches: of two images, or of their features."""
        return self.metric == _PAIR_METRIC

    def problem(self, min_cosine: float, min_repeatability: float) -> str:
        """Return what is too low, in words; empty when nothing is."""
        if self.complaint:
            return self.complaint
        # Written so that NaN fails.
        if not self.minimum >= min_cosine:
            return (
                f"{self.metric} is {self.minimum:.6f} at least and {self.mean:.6f} on average over {self.count} golden "
                f"{'pairs' if self.is_of_pairs else 'images'}; {min_cosine:g} is required"
            )
        if not math.isnan(self.repeatability) and not self.repeatability >= min_repeatability:
            found = "matches are found again" if self.is_of_pairs else "keypoints are found again"
            nearness = "" if self.is_of_pairs else f" within {REPEATABILITY_RADIUS_PX:g} px"
            return (
                f"only {self.repeatability:.3f} of the reference's {found}{nearness}; {min_repeatability:g} is required"
            )
        return ""

    def require(self, min_cosine: float, min_repeatability: float) -> None:
        """Refuse an engine that is too far from its reference.

        Raises:
            EngineFidelityError: says what was measured and what is required.
        """
        problem = self.problem(min_cosine, min_repeatability)
        if problem:
            raise EngineFidelityError(
                f"the engine is not faithful to its FP32 reference: {problem}. Build it again, in fp32 if it recurs"
            )


def measure_fidelity(
    runtime: InferenceRuntime, handle: EngineHandle, spec: ArchitectureSpec, golden: GoldenSet
) -> FidelityReport:
    """Run the golden images through a loaded engine and compare.

    Args:
        runtime: holds the engine.
        handle: of the engine.
        spec: of its architecture. Another resize mode than the golden set's is the caller's choice, and does not matter
            here: the golden images are resized as the reference's were.
        golden: of the same model and preprocessing.

    Raises:
        EngineFidelityError: the golden set is of another model or preprocessing, or holds no usable reference.
        InferenceError, OutOfMemoryError: the engine could not be run.
    """
    comparable = _comparable_spec(handle, spec, golden)
    if golden.inputs:
        return _measure_pairs(runtime, handle, spec, golden)
    preprocessor = Preprocessor(comparable.preprocess)
    cosines, repeatabilities, complaint = [], [], ""
    for index, image_hwc in enumerate(golden.images_hwc):
        batch_nchw, transform = preprocessor.prepare(image_for(spec.preprocess.color, image_hwc))
        outputs = runtime.infer(handle, {spec.inputs[0].name: batch_nchw})
        height, width = image_hwc.shape[:2]
        try:
            reference = _features(golden.outputs[index], spec, transform, height, width)
        except (GpsDeniedInferenceError, KeyError) as error:
            raise EngineFidelityError(
                f"the golden outputs of '{golden.model}' cannot be read: {error}; build the engine again"
            ) from error
        try:
            measured = _features(outputs, spec, transform, height, width)
        except NonFiniteOutputError as error:
            complaint = complaint or f"for golden image {index}, {error}"
            cosines.append(math.nan)
            continue
        if isinstance(reference, LocalFeatures) and isinstance(measured, LocalFeatures):
            cosine, repeatability = _compare_local(reference, measured)
            repeatabilities.append(repeatability)
        else:
            assert not isinstance(reference, LocalFeatures)
            assert not isinstance(measured, LocalFeatures)
            cosine = _cosine(reference, measured)
        cosines.append(cosine)
    is_local = spec.output_kind is OutputKind.LOCAL_FEATURES
    return FidelityReport(
        metric="cosine of matched descriptors" if is_local else "descriptor cosine",
        # min() of Python would step over a NaN; numpy's does not.
        minimum=float(np.min(cosines)),
        mean=float(np.mean(cosines)),
        repeatability=min(repeatabilities, default=0.0) if is_local else math.nan,
        count=len(cosines),
        complaint=complaint,
    )


def _measure_pairs(
    runtime: InferenceRuntime, handle: EngineHandle, spec: ArchitectureSpec, golden: GoldenSet
) -> FidelityReport:
    """Compare a network of two images with its reference, on the inputs that are kept with the golden outputs."""
    cosines, repeatabilities, complaint = [], [], ""
    for index, inputs in enumerate(golden.inputs):
        outputs = runtime.infer(handle, inputs)
        try:
            for name in spec.output_names:
                require_finite(name, outputs[name])
            cosine, repeatability = compare_pairs(golden.outputs[index], outputs, spec)
        except NonFiniteOutputError as error:
            complaint = complaint or f"for golden inputs {index}, {error}"
            cosine = repeatability = math.nan
        except KeyError as error:
            raise EngineFidelityError(
                f"the golden outputs of '{golden.model}' lack {error}; build the engine again"
            ) from error
        cosines.append(cosine)
        repeatabilities.append(repeatability)
    return FidelityReport(
        metric=_PAIR_METRIC,
        minimum=float(np.min(cosines)),
        mean=float(np.mean(cosines)),
        repeatability=float(np.min(repeatabilities)),
        count=len(cosines),
        complaint=complaint,
    )


def _comparable_spec(handle: EngineHandle, spec: ArchitectureSpec, golden: GoldenSet) -> ArchitectureSpec:
    if golden.model != handle.model_name:
        raise EngineFidelityError(
            f"the golden set is of model '{golden.model}', the engine runs '{handle.model_name}'; build it again"
        )
    for mode in (spec.preprocess.resize_mode, *ResizeMode):
        candidate = replace(spec, preprocess=replace(spec.preprocess, resize_mode=mode))
        if candidate.preprocess.sha256 == golden.preprocess_sha256:
            return candidate
    raise EngineFidelityError(
        f"the golden set of '{golden.model}' was made with the preprocessing {golden.preprocess_sha256[:12]}, this "
        f"package preprocesses otherwise ({spec.preprocess.sha256[:12]}): other size, colours, mean or std. "
        "Build the engine again with this version"
    )


def _features(
    outputs: Mapping[str, NDArray[np.float32]],
    spec: ArchitectureSpec,
    transform: PixelTransform,
    height: int,
    width: int,
) -> NDArray[np.float32] | LocalFeatures:
    if spec.output_kind is OutputKind.GLOBAL_DESCRIPTOR:
        return global_descriptor_from_output(outputs[spec.output_names[0]], spec).values
    return local_features_from_outputs(
        outputs, spec, transform, image_height=height, image_width=width, top_k=spec.max_keypoints
    )


def _cosine(reference: NDArray[np.float32], measured: NDArray[np.float32]) -> float:
    first, second = reference.astype(np.float64), measured.astype(np.float64)
    lengths = np.linalg.norm(first) * np.linalg.norm(second)
    return float(first @ second / lengths) if lengths > 0 else math.nan


def _compare_local(reference: LocalFeatures, measured: LocalFeatures) -> tuple[float, float]:
    """Mean descriptor cosine of the keypoints found again, and their share."""
    if reference.count == 0:
        # Nothing to find: right if nothing was found.
        return (1.0, 1.0) if measured.count == 0 else (0.0, 0.0)
    if measured.count == 0:
        return 0.0, 0.0
    first, second = (item.keypoints_px.astype(np.float64) for item in (reference, measured))
    squared = (first**2).sum(1)[:, np.newaxis] + (second**2).sum(1)[np.newaxis] - 2.0 * first @ second.T
    nearest = squared.argmin(axis=1)
    is_found = squared[np.arange(reference.count), nearest] <= REPEATABILITY_RADIUS_PX**2
    if not is_found.any():
        return 0.0, 0.0
    wanted = reference.descriptors[is_found].astype(np.float64)
    got = measured.descriptors[nearest[is_found]].astype(np.float64)
    lengths = np.linalg.norm(wanted, axis=1) * np.linalg.norm(got, axis=1)
    cosines = np.divide((wanted * got).sum(axis=1), lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return float(cosines.mean()), float(is_found.mean())
