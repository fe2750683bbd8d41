"""TensorRT's Python modules: the one place that knows how their versions differ.

`tensorrt` 10 (JetPack 6 and 7) has weakly typed networks with calibrators beside strongly typed ones; 11 has only the
latter. `tensorrt_rtx` (TensorRT for RTX) is like 11, compiles for named compute capabilities on computers without a
GPU, and keeps no timing cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gps_denied_inference.core.architectures.install_commands import install_command
from gps_denied_inference.core.contracts import PrecisionMode
from gps_denied_inference.core.errors import EngineBuildError, RuntimeNotAvailableError, SettingsError
from gps_denied_inference.core.optional import require

__all__ = ["AUTO", "FLAVOURS", "TENSORRT_RTX", "TensorrtBinding", "flavour_of", "load_binding"]

AUTO = "auto"
TENSORRT_RTX = "tensorrt_rtx"
FLAVOURS = ("tensorrt", TENSORRT_RTX)
"""Module names, in the order in which `auto` tries them."""

_TOOLCHAINS = {"tensorrt": "trt", "tensorrt_rtx": "rtx"}
_TITLES = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT for RTX"}
_OLDEST_TENSORRT = 10
_INSTALL = {
    "tensorrt": "apt install python3-libnvinfer (JetPack brings it; a virtual environment sees it with "
    "--system-site-packages)",
    "tensorrt_rtx": install_command("tensorrt_rtx"),
}


@dataclass(frozen=True, slots=True)
class TensorrtBinding:
    """One of the modules.

    Attributes:
        flavour: its name.
        module: the module.
    """

    flavour: str
    module: Any

    @property
    def version(self) -> str:
        return str(self.module.__version__)

    @property
    def title(self) -> str:
        """For people, e.g. `TensorRT 10.3.0`."""
        return f"{_TITLES[self.flavour]} {self.version}"

    @property
    def toolchain(self) -> str:
        """As file names of engines spell it: `trt10.3.0`, `rtx1.7.1.116`."""
        return f"{_TOOLCHAINS[self.flavour]}{self.version}"

    def require_supported(self) -> None:
        """Refuse versions whose interface is another.

        Raises:
            RuntimeNotAvailableError: it is older than TensorRT 10.
        """
        major = self.version.partition(".")[0]
        if self.flavour == "tensorrt" and major.isdigit() and int(major) < _OLDEST_TENSORRT:
            raise RuntimeNotAvailableError(
                f"{self.title} is too old, {_OLDEST_TENSORRT} or newer is needed: JetPack 6.1 or newer brings it"
            )

    @property
    def has_timing_cache(self) -> bool:
        """TensorRT for RTX has the calls, does nothing and warns."""
        return self.flavour == "tensorrt"

    @property
    def has_calibration(self) -> bool:
        return hasattr(self.module, "IInt8EntropyCalibrator2") and hasattr(self.module.BuilderFlag, "INT8")

    @property
    def compute_capabilities(self) -> tuple[str, ...]:
        """Those that can be compiled for without having such a GPU; empty: only for the GPU that is here."""
        known = getattr(self.module, "ComputeCapability", None)
        names = () if self.flavour == "tensorrt" or known is None else tuple(known.__members__)
        return tuple(name.removeprefix("SM") for name in names if name.startswith("SM"))

    def create_network(self, builder: Any, *, is_strongly_typed: bool) -> Any:
        """Make an empty network; where the flag is gone, every network is strongly typed."""
        flag = getattr(getattr(self.module, "NetworkDefinitionCreationFlag", None), "STRONGLY_TYPED", None)
        return builder.create_network(1 << int(flag) if is_strongly_typed and flag is not None else 0)

    def allow_precision(self, config: Any, precision: PrecisionMode) -> None:
        """Let a weakly typed network compute in INT8, and in FP16 beside it when precisions are mixed."""
        config.set_flag(self.module.BuilderFlag.INT8)
        if precision is PrecisionMode.MIXED:
            config.set_flag(self.module.BuilderFlag.FP16)

    def set_workspace_limit(self, config: Any, limit_bytes: int) -> None:
        config.set_memory_pool_limit(self.module.MemoryPoolType.WORKSPACE, limit_bytes)

    def set_compute_capabilities(self, config: Any, sms: Sequence[str]) -> None:
        """Compile ahead of time.

        Raises:
            EngineBuildError: this flavour cannot, or not for one of these.
        """
        allowed = self.compute_capabilities
        if not allowed:
            raise EngineBuildError(
                f"{self.title} compiles only for the GPU of this computer, not for SM {', '.join(sms)}; build there "
                "and leave the compute capability out"
            )
        unknown = [sm for sm in sms if sm not in allowed]
        if unknown:
            raise EngineBuildError(
                f"{self.title} does not compile for SM {', '.join(unknown)}; it knows SM {', '.join(allowed)}"
            )
        config.num_compute_capabilities = len(sms)
        for index, sm in enumerate(sms):
            if not config.set_compute_capability(getattr(self.module.ComputeCapability, f"SM{sm}"), index):
                raise EngineBuildError(f"{self.title} refuses to compile for SM {', '.join(sms)} together")

    def is_quantization(self, layer: Any) -> bool:
        return layer.type in (self.module.LayerType.QUANTIZE, self.module.LayerType.DEQUANTIZE)

    def numpy_dtype(self, dtype: Any) -> np.dtype[Any] | None:
        """Return numpy's name for an element type; None where it has none (FP8, BF16)."""
        try:
            found: np.dtype[Any] = np.dtype(self.module.nptype(dtype))
        except TypeError:
            return None
        return found


def flavour_of(toolchain: str) -> str:
    """Flavour that built an engine, from `EngineCacheEntry.tensorrt`; `auto` when it does not say."""
    for flavour, prefix in _TOOLCHAINS.items():
        if toolchain.startswith(prefix):
            return flavour
    return AUTO


def load_binding(flavour: str = AUTO) -> TensorrtBinding:
    """Import TensorRT.

    Args:
        flavour: `tensorrt`, `tensorrt_rtx`, or `auto`: the first of these that is there.

    Raises:
        SettingsError: another flavour.
        RuntimeNotAvailableError: it is absent or broken; says how to get it.
    """
    if flavour not in (AUTO, *FLAVOURS):
        raise SettingsError("tensorrt_flavour", flavour, f"{AUTO}, {' or '.join(FLAVOURS)}")
    reasons: list[str] = []
    cause: Exception | None = None
    for name in FLAVOURS if flavour == AUTO else (flavour,):
        try:
            binding = TensorrtBinding(name, require(name, install=_INSTALL[name], purpose="the tensorrt runtime"))
            binding.require_supported()
        except (RuntimeNotAvailableError, OSError) as error:  # OSError: a library that the module loads is absent
            reasons.append(str(error))
            cause = cause or error
        else:
            return binding
    raise RuntimeNotAvailableError("; or ".join(reasons)) from cause
