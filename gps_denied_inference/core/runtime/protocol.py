"""What every runtime can do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import BuildConfig, EngineCacheEntry, EngineHandle, ThermalState

__all__ = ["InferenceRuntime"]


@runtime_checkable
class InferenceRuntime(Protocol):
    """Runs engines. Nothing but our error family leaves it; the backend's exception is the `__cause__`."""

    def compile_engine(self, model_path: Path, build_config: BuildConfig) -> EngineCacheEntry:
        """Make an engine of a model file, or validate the file where there is nothing to compile.

        Raises:
            EngineBuildError: the file is missing or malformed, or the configuration cannot be built.
        """
        ...

    def deserialize_engine(self, entry: EngineCacheEntry) -> EngineHandle:
        """Load an engine and warm it up on its declared input shapes. The first `infer` is as fast as the others.

        Raises:
            EngineHashMismatchError: the file's bytes are not those of the entry.
            EngineDeserializeError: the file is missing or is not an engine of this network, or nobody registered it.
            OutOfMemoryError: it does not fit the device.
            RuntimeNotAvailableError: the package or device is absent and no fallback is allowed.
        """
        ...

    def infer(self, handle: EngineHandle, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[np.float32]]:
        """Run one forward pass. Returns after the device has finished.

        Args:
            handle: from `deserialize_engine` of this object.
            inputs: one array for each of `handle.input_specs`, of exactly its shape and dtype, finite. Read only
                during the call.

        Returns:
            The named outputs, float32. Fresh arrays: the caller owns them.

        Raises:
            InferenceError: the handle, a name, shape, dtype or value is wrong, or the backend failed.
            OutOfMemoryError: the device's memory is exhausted; the runtime stays usable.
        """
        ...

    def release_engine(self, handle: EngineHandle) -> None:
        """Give the engine's memory back. Releasing it again does nothing.

        Raises:
            InferenceError: the handle is not of this object.
        """
        ...

    def thermal_state(self) -> ThermalState:
        """Return the latest thermal reading without blocking; without a publisher, one that claims nothing.

        Raises:
            TelemetryUnavailableError: the publisher failed.
        """
        ...

    def current_runtime_label(self) -> str:
        """Name of the runtime, as settings and messages spell it."""
        ...
