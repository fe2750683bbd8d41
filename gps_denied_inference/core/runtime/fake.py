"""A runtime without a network: it plays a script. For tests, and for trying a graph on a desk."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.architectures import ArchitectureEntry, ArchitectureRegistry, default_registry
from gps_denied_inference.core.contracts import (
    ArchitectureSpec,
    BuildConfig,
    EffectiveConfiguration,
    EngineCacheEntry,
    EngineHandle,
    PrecisionMode,
    RuntimeLabel,
    ThermalPublisher,
    ThermalState,
)
from gps_denied_inference.core.errors import (
    EngineBuildError,
    EngineDeserializeError,
    InferenceError,
    OutOfMemoryError,
    RegistryError,
)
from gps_denied_inference.core.runtime.engine_file import entry_for, model_name_of, read_checked, read_source
from gps_denied_inference.core.runtime.fake_outputs import outputs_from_inputs
from gps_denied_inference.core.runtime.fake_script import (
    FakeScript,
    Fault,
    FaultKind,
    LoadFault,
    parse_script,
)
from gps_denied_inference.core.runtime.handles import HandleTable
from gps_denied_inference.core.runtime.input_validation import validate_inputs
from gps_denied_inference.core.runtime.thermal_source import read_thermal_state

__all__ = ["FakeRuntime"]

_LOGGER = logging.getLogger("gps_denied_inference.runtime")


@dataclass(slots=True)
class _Performance:
    """A script being played."""

    script: FakeScript
    spec: ArchitectureSpec
    frame: int = 0
    jitter: random.Random = field(default_factory=random.Random)

    def next_latency_ms(self, frame: int) -> float:
        latencies = self.script.latency_ms
        return latencies[frame % len(latencies)] + self.jitter.uniform(0.0, self.script.jitter_ms)


class FakeRuntime:
    """Plays a YAML script (see `fake_script`) in place of an engine; outputs depend on the input's pixels alone.

    It imitates the shapes of a registered architecture, and needs neither its weights nor torch. A context manager.

    Args:
        device: only reported: it computes on the CPU.
        allow_cpu_fallback: ignored; a script runs anywhere.
        per_frame_debug_log: one DEBUG line a frame.
        thermal_publisher: whom `thermal_state` asks.
        architecture_registry: where networks are found; the default registry, when None.
        clock: steady clock, nanoseconds.
        sleep: waits this many seconds.
    """

    def __init__(
        self,
        *,
        device: str = "cpu",
        allow_cpu_fallback: bool = False,  # noqa: ARG002 - runtimes take the same keywords
        per_frame_debug_log: bool = False,
        thermal_publisher: ThermalPublisher | None = None,
        architecture_registry: ArchitectureRegistry | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._device = device
        self._per_frame_debug_log = per_frame_debug_log
        self._thermal_publisher = thermal_publisher
        self._registry = architecture_registry
        self._clock = clock
        self._sleep = sleep
        self._performances: HandleTable[_Performance] = HandleTable(RuntimeLabel.FAKE)

    def compile_engine(self, model_path: Path, build_config: BuildConfig) -> EngineCacheEntry:
        """Validate a script and describe it; the network's name is that of `extras`, else the script's, else the stem.

        Raises:
            EngineBuildError: the script is missing or malformed; names the field, its value and what is allowed.
        """
        path = Path(model_path)
        content = read_source(path)
        script = parse_script(content, str(path))
        extras = dict(build_config.extras)
        if script.model_name:
            extras.setdefault("model_name", script.model_name)
        config = BuildConfig(build_config.precision, build_config.profiles, extras)
        return entry_for(path, content, config, RuntimeLabel.FAKE)

    def deserialize_engine(self, entry: EngineCacheEntry) -> EngineHandle:
        """Load a script; see `InferenceRuntime.deserialize_engine`. `load_latency_ms` and `load_fault` strike here."""
        model_name = model_name_of(entry)
        architecture = self._architecture(model_name)
        content = read_checked(entry)
        try:
            script = parse_script(content, str(entry.path))
        except EngineBuildError as error:
            raise EngineDeserializeError(str(error)) from error
        self._wait(script.load_latency_ms)
        if script.load_fault is LoadFault.OUT_OF_MEMORY:
            raise OutOfMemoryError(f"scripted: out of memory while loading '{model_name}'") from MemoryError("scripted")
        if script.load_fault is LoadFault.DESERIALIZE_ERROR:
            raise EngineDeserializeError(f"scripted: '{model_name}' cannot be loaded") from OSError("scripted")
        return self._performances.add(
            _Performance(script, architecture.spec, jitter=random.Random(script.seed)),
            model_name=model_name,
            input_specs=architecture.spec.inputs,
            configuration=self._configuration(entry.precision),
        )

    def infer(self, handle: EngineHandle, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        """Play the next frame of the script; see `InferenceRuntime.infer`. The arrays returned are the caller's."""
        performance = self._performances.get(handle)
        start_ns = self._clock()
        validate_inputs(handle.input_specs, inputs)
        frame = performance.frame
        performance.frame += 1
        fault = performance.script.fault_at(frame)
        self._wait(performance.next_latency_ms(frame) + (fault.hang_ms if fault else 0.0))
        outputs = outputs_from_inputs(performance.spec, inputs)
        if fault is not None:
            outputs = _strike(fault, frame, outputs)
        if self._per_frame_debug_log:
            _LOGGER.debug("%s: frame %d, total %.3f ms", handle.model_name, frame, (self._clock() - start_ns) / 1e6)
        return outputs

    def release_engine(self, handle: EngineHandle) -> None:
        """Forget the script; see `InferenceRuntime.release_engine`."""
        self._performances.release(handle)

    def thermal_state(self) -> ThermalState:
        """Return what the thermal publisher knows; without one, a state that claims nothing."""
        return read_thermal_state(self._thermal_publisher)

    def current_runtime_label(self) -> str:
        """Return `fake`."""
        return RuntimeLabel.FAKE.value

    def close(self) -> None:
        """Release every engine. Idempotent."""
        self._performances.release_all()

    def __enter__(self) -> FakeRuntime:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wait(self, duration_ms: float) -> None:
        if duration_ms > 0:
            self._sleep(duration_ms / 1e3)

    def _architecture(self, model_name: str) -> ArchitectureEntry:
        registry = default_registry() if self._registry is None else self._registry
        try:
            return registry.lookup(model_name)
        except RegistryError as error:
            raise EngineDeserializeError(f"cannot play '{model_name}': {error}") from error

    def _configuration(self, precision: PrecisionMode) -> EffectiveConfiguration:
        is_as_asked = precision is PrecisionMode.FP32 and self._device == "cpu"
        return EffectiveConfiguration(
            requested_precision=precision,
            effective_precision=PrecisionMode.FP32,
            requested_device=self._device,
            effective_device="cpu",
            provider="script",
            fallback_reason="" if is_as_asked else "the fake runtime plays a script in FP32 on the CPU",
        )


def _strike(fault: Fault, frame: int, outputs: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    if fault.kind is FaultKind.INFERENCE_ERROR:
        raise InferenceError(f"scripted: frame {frame} fails") from RuntimeError("scripted")
    if fault.kind is FaultKind.OUT_OF_MEMORY:
        raise OutOfMemoryError(f"scripted: out of memory at frame {frame}") from MemoryError("scripted")
    if fault.kind is FaultKind.NAN:
        for values in outputs.values():
            values.flat[0] = np.nan
    if fault.kind is FaultKind.WRONG_SHAPE:
        return {name: np.ascontiguousarray(values[..., :-1]) for name, values in outputs.items()}
    return outputs
