"""Engines: how they are built, what they are, what they really run as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import MappingProxyType

__all__ = [
    "BuildConfig",
    "EffectiveConfiguration",
    "EngineCacheEntry",
    "EngineHandle",
    "OptimizationProfile",
    "PrecisionMode",
    "RuntimeLabel",
    "TensorSpec",
]


def _nothing() -> Mapping[str, str]:
    return MappingProxyType({})


class RuntimeLabel(Enum):
    """Names of the runtimes, as settings, messages and diagnostics spell them."""

    PYTORCH_FP16 = "pytorch_fp16"
    TENSORRT = "tensorrt"
    ONNX_TRT_EP = "onnx_trt_ep"
    FAKE = "fake"


class PrecisionMode(Enum):
    """Arithmetic of an engine."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"
    MIXED = "mixed"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, shape and dtype of a network's input.

    Attributes:
        name: as `infer` expects it.
        shape: fixed sizes, batch first.
        dtype: numpy name, e.g. `float32`: what the caller hands over, whatever the engine computes in.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"


@dataclass(frozen=True, slots=True)
class OptimizationProfile:
    """Smallest, usual and largest shape of one input."""

    input_name: str
    min_shape: tuple[int, ...]
    opt_shape: tuple[int, ...]
    max_shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BuildConfig:
    """How an engine is to be compiled.

    Attributes:
        precision: requested arithmetic.
        profiles: one per input with a variable shape; empty for fixed shapes.
        extras: runtime-specific settings; `model_name` overrides the name taken from the file stem.
    """

    precision: PrecisionMode = PrecisionMode.FP16
    profiles: tuple[OptimizationProfile, ...] = ()
    extras: Mapping[str, str] = field(default_factory=_nothing)


@dataclass(frozen=True, slots=True)
class EngineCacheEntry:
    """An engine file and what it was built for.

    Attributes:
        path: the file.
        sha256: of its bytes, lower-case hex.
        sm: CUDA compute capability it needs, e.g. `87`; empty when it runs anywhere.
        jetpack: JetPack version it needs; empty when it runs anywhere.
        tensorrt: flavour and version that built it; empty for other runtimes.
        precision: arithmetic that was asked for.
        extras: at least `model_name`.
    """

    path: Path
    sha256: str
    precision: PrecisionMode
    sm: str = ""
    jetpack: str = ""
    tensorrt: str = ""
    extras: Mapping[str, str] = field(default_factory=_nothing)


@dataclass(frozen=True, slots=True)
class EffectiveConfiguration:
    """What was asked for, what runs, and why they differ.

    Attributes:
        requested_precision, effective_precision: arithmetic.
        requested_device, effective_device: e.g. `cuda:0`, `cpu`.
        provider: backend that does the work, e.g. `torch 2.13.0`, `CPUExecutionProvider`.
        fallback_reason: empty when what runs is what was asked for.
        requested_provider: the backend that was asked for; empty where the runtime has but one.
    """

    requested_precision: PrecisionMode
    effective_precision: PrecisionMode
    requested_device: str
    effective_device: str
    provider: str
    fallback_reason: str = ""
    requested_provider: str = ""


@dataclass(frozen=True, slots=True)
class EngineHandle:
    """A loaded engine. Opaque: only the runtime that returned it can use it.

    Attributes:
        runtime_label: of the runtime that returned it.
        handle_id: unique within the process.
        model_name: architecture it runs.
        input_specs: what `infer` takes.
        configuration: what runs, against what was asked for.
    """

    runtime_label: RuntimeLabel
    handle_id: int
    model_name: str
    input_specs: tuple[TensorSpec, ...]
    configuration: EffectiveConfiguration
