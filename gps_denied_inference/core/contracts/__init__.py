"""Value types that the rooms of `core` exchange. No I/O, no behaviour beyond derived values."""

from gps_denied_inference.core.contracts.architecture import ArchitectureSpec, WeightsOrigin
from gps_denied_inference.core.contracts.engine import (
    BuildConfig,
    EffectiveConfiguration,
    EngineCacheEntry,
    EngineHandle,
    OptimizationProfile,
    PrecisionMode,
    RuntimeLabel,
    TensorSpec,
)
from gps_denied_inference.core.contracts.features import Features, GlobalDescriptor, LocalFeatures, OutputKind
from gps_denied_inference.core.contracts.image import (
    ColorSpace,
    CompressedFrame,
    Frame,
    ImageFrame,
    PreprocessSpec,
    ResizeMode,
)
from gps_denied_inference.core.contracts.matching import Correspondences, Matches, SentFeatures
from gps_denied_inference.core.contracts.places import DescribedFrame, PlaceCandidate, PlaceRecognition
from gps_denied_inference.core.contracts.thermal import UNKNOWN_THERMAL_STATE, ThermalPublisher, ThermalState
from gps_denied_inference.core.contracts.timing import DropReason, StageTimings

__all__ = [
    "UNKNOWN_THERMAL_STATE",
    "ArchitectureSpec",
    "BuildConfig",
    "ColorSpace",
    "CompressedFrame",
    "Correspondences",
    "DescribedFrame",
    "DropReason",
    "EffectiveConfiguration",
    "EngineCacheEntry",
    "EngineHandle",
    "Features",
    "Frame",
    "GlobalDescriptor",
    "ImageFrame",
    "LocalFeatures",
    "Matches",
    "OptimizationProfile",
    "OutputKind",
    "PlaceCandidate",
    "PlaceRecognition",
    "PrecisionMode",
    "PreprocessSpec",
    "ResizeMode",
    "RuntimeLabel",
    "SentFeatures",
    "StageTimings",
    "TensorSpec",
    "ThermalPublisher",
    "ThermalState",
    "WeightsOrigin",
]
