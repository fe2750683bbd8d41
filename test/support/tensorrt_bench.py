"""TensorRT runtimes on the stand-in, with the streams that they opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from tensorrt_stand_in import HostStream, make_tensorrt, make_tensorrt_rtx

from gps_denied_inference.core.architectures import ArchitectureRegistry
from gps_denied_inference.core.contracts import BuildConfig, EngineCacheEntry, EngineHandle, PrecisionMode
from gps_denied_inference.core.runtime.tensorrt_binding import TensorrtBinding
from gps_denied_inference.core.runtime.tensorrt_runtime import TensorrtRuntime

__all__ = ["VARIANTS", "TensorrtBench", "tensorrt_variant"]

VARIANTS = ("tensorrt 10.3.0", "tensorrt 10.13.3", "tensorrt 11.0.0", "tensorrt_rtx 1.7.1.116")
"""JetPack 6, JetPack 7, what follows, and TensorRT for RTX."""


def tensorrt_variant(name: str = VARIANTS[0]) -> ModuleType:
    """A stand-in of one of `VARIANTS`."""
    flavour, version = name.split()
    return make_tensorrt(version) if flavour == "tensorrt" else make_tensorrt_rtx(version)


@dataclass
class TensorrtBench:
    """A stand-in and the streams that were opened on it.

    Attributes:
        registry: networks.
        module: the stand-in.
        stream_options: of `HostStream`.
        streams: that runtimes opened, in order.
        asked: flavours that runtimes asked for.
    """

    registry: ArchitectureRegistry
    module: ModuleType = field(default_factory=tensorrt_variant)
    stream_options: dict[str, Any] = field(default_factory=dict)
    streams: list[HostStream] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def runtime(self, **options: Any) -> TensorrtRuntime:
        return TensorrtRuntime(
            **{"architecture_registry": self.registry, **options},
            find_binding=self._find_binding,
            open_stream=self._open_stream,
        )

    def compile(
        self, path: Path, content: bytes | None = None, precision: PrecisionMode = PrecisionMode.FP16, **extras: str
    ) -> EngineCacheEntry:
        """Compile a model; `content` is written into its file first."""
        if content is not None:
            path.write_bytes(content)
        return self.runtime().compile_engine(path, BuildConfig(precision, extras=MappingProxyType(extras)))

    def load(self, entry: EngineCacheEntry, **options: Any) -> tuple[TensorrtRuntime, EngineHandle, HostStream]:
        """Load an engine; returns also the stream that it runs on."""
        runtime = self.runtime(**options)
        handle = runtime.deserialize_engine(entry)
        return runtime, handle, self.streams[-1]

    def _find_binding(self, flavour: str) -> TensorrtBinding:
        self.asked.append(flavour)
        return TensorrtBinding(self.module.__name__, self.module)

    def _open_stream(self, index: int) -> HostStream:
        stream = HostStream(index, **self.stream_options)
        self.streams.append(stream)
        return stream
