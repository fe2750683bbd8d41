"""Engines for the CUDA tests and for the record of measurements."""

from __future__ import annotations

from gps_denied_inference.core.architectures import ArchitectureEntry, ArchitectureRegistry, entries, locate_weights
from gps_denied_inference.core.contracts import BuildConfig, EngineHandle, PrecisionMode
from gps_denied_inference.core.runtime.pytorch_fp16 import PytorchFp16Runtime
from test.core.runtime.reference_networks import reference_registry

__all__ = ["MIB", "OURS", "full_registry", "load_published"]

MIB = 1 << 20
OURS = ("efficientnet_lite0_grid", "xfeat")


def full_registry() -> ArchitectureRegistry:
    """The reference networks and ours."""
    registry = reference_registry()
    entries.register(registry)
    return registry


def load_published(
    runtime: PytorchFp16Runtime, name: str, precision: PrecisionMode = PrecisionMode.FP16
) -> tuple[ArchitectureEntry, EngineHandle]:
    """Load one of our networks with its published weights.

    Raises:
        EngineBuildError: the weights are not installed.
    """
    architecture = full_registry().lookup(name)
    path = locate_weights(architecture.spec, name, None)
    entry = runtime.compile_engine(path, BuildConfig(precision=precision, extras={"model_name": name}))
    return architecture, runtime.deserialize_engine(entry)
