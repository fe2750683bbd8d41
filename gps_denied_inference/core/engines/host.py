"""The computer that engines must fit: GPUs, JetPack or CUDA, versions of the inference libraries."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gps_denied_inference.core.errors import RuntimeNotAvailableError
from gps_denied_inference.core.optional import require

__all__ = ["HostTuple", "gpu_names", "probe_host", "read_host"]

# Jetson Linux (L4T) → JetPack, from NVIDIA's JetPack release notes; unlisted releases are called by their L4T name:
# a patch release may bring another TensorRT.
_JETPACK_OF_L4T = {
    "35.3.1": "5.1.1", "35.4.1": "5.1.2", "35.5.0": "5.1.3", "35.6.0": "5.1.4", "35.6.1": "5.1.5", "35.6.2": "5.1.5",
    "36.3.0": "6.0", "36.4.0": "6.1", "36.4.3": "6.2", "36.4.4": "6.2.1",
    "38.2.0": "7.0", "38.4.0": "7.1",
}  # fmt: skip
# Compute capability of the GPU inside Jetson modules (NVIDIA's list of CUDA GPUs), by the name of the chip in the
# device tree: JetPack 5 has no NVML, and JetPack 6's leaves much unanswered.
_SM_OF_TEGRA = {"nvidia,tegra194": "72", "nvidia,tegra234": "87", "nvidia,tegra264": "110"}
_TENSORRT_PACKAGES = ("tensorrt", "tensorrt-cu13", "tensorrt-cu12")
_TENSORRT_RTX_PACKAGES = ("tensorrt-rtx", "tensorrt-rtx-cu13", "tensorrt-rtx-cu12")
_TENSORRT_MODULE = "tensorrt"
_TENSORRT_RTX_MODULE = "tensorrt_rtx"
_ONNXRUNTIME_PACKAGES = ("onnxruntime-gpu", "onnxruntime")


@dataclass(frozen=True, slots=True)
class HostTuple:
    """What engines are built for. Empty where a part is absent.

    Attributes:
        sms: compute capabilities of the GPUs without the point, e.g. `("87",)`.
        jetpack: e.g. `6.2`.
        cuda: newest CUDA version that the driver runs, e.g. `13.0`.
        tensorrt, tensorrt_rtx, onnxruntime, torch: versions of the packages.
        machine: processor, e.g. `aarch64`: plans of TensorRT run on no other kind.
    """

    sms: tuple[str, ...] = ()
    jetpack: str = ""
    cuda: str = ""
    tensorrt: str = ""
    tensorrt_rtx: str = ""
    onnxruntime: str = ""
    torch: str = ""
    machine: str = ""


@cache
def probe_host() -> HostTuple:
    """Look at this computer, once a process. Nothing heavy is imported where package metadata tell its version."""
    return read_host()


def read_host(root: Path = Path("/"), nvml: Any = None) -> HostTuple:
    """Look at a computer.

    Args:
        root: where `/etc/nv_tegra_release` and `/proc/device-tree/compatible` are looked for.
        nvml: the module pynvml; the installed one, when None.
    """
    sms, cuda = _gpus(nvml)
    sms = sms or _tegra_sms(root / "proc" / "device-tree" / "compatible")
    return HostTuple(
        sms=sms,
        jetpack=_jetpack(root / "etc" / "nv_tegra_release"),
        cuda=cuda,
        tensorrt=_version(_TENSORRT_PACKAGES) or _module_version(_TENSORRT_MODULE),
        tensorrt_rtx=_version(_TENSORRT_RTX_PACKAGES) or _module_version(_TENSORRT_RTX_MODULE),
        onnxruntime=_version(_ONNXRUNTIME_PACKAGES),
        torch=_version(("torch",)).partition("+")[0],
        machine=platform.machine().lower(),
    )


def gpu_names(root: Path = Path("/"), nvml: Any = None) -> tuple[str, ...]:
    """Names of the GPUs, for people; of a Jetson, which may have no NVML, that of the board. Arguments: `read_host`."""
    found: list[str] = []
    with contextlib.suppress(RuntimeNotAvailableError):
        nvml = _nvml(nvml)
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlInit()
            for index in range(nvml.nvmlDeviceGetCount()):
                name = nvml.nvmlDeviceGetName(nvml.nvmlDeviceGetHandleByIndex(index))
                found.append(name.decode() if isinstance(name, bytes) else str(name))
            nvml.nvmlShutdown()
    if not found and _tegra_sms(root / "proc" / "device-tree" / "compatible"):
        with contextlib.suppress(OSError):
            model = (root / "proc" / "device-tree" / "model").read_text(encoding="ascii", errors="replace")
            found.append(model.rstrip("\0").strip())
    return tuple(found)


def _nvml(nvml: Any) -> Any:
    if nvml is not None:
        return nvml
    return require("pynvml", install="pip install nvidia-ml-py", purpose="looking at the GPUs")


def _gpus(nvml: Any) -> tuple[tuple[str, ...], str]:
    """Compute capabilities and the driver's CUDA version; empty without a driver."""
    try:
        nvml = _nvml(nvml)
    except RuntimeNotAvailableError:
        return (), ""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return (), ""
    found: set[str] = set()
    cuda = ""
    # What one question cannot tell, the other may.
    with contextlib.suppress(nvml.NVMLError):
        version = int(nvml.nvmlSystemGetCudaDriverVersion_v2())
        cuda = f"{version // 1000}.{version % 1000 // 10}"
    with contextlib.suppress(nvml.NVMLError):
        for index in range(nvml.nvmlDeviceGetCount()):
            major, minor = nvml.nvmlDeviceGetCudaComputeCapability(nvml.nvmlDeviceGetHandleByIndex(index))
            found.add(f"{major}{minor}")
    with contextlib.suppress(nvml.NVMLError):
        nvml.nvmlShutdown()
    return tuple(sorted(found, key=int)), cuda


def _tegra_sms(compatible: Path) -> tuple[str, ...]:
    """Names, each ended by a zero byte, of the board and then of its chip."""
    try:
        names = compatible.read_text(encoding="ascii", errors="replace").split("\0")
    except OSError:
        return ()
    return tuple(_SM_OF_TEGRA[name] for name in names if name in _SM_OF_TEGRA)


def _jetpack(release_file: Path) -> str:
    """`# R36 (release), REVISION: 4.3, ...` → 6.2."""
    try:
        text = release_file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    match = re.search(r"R(\d+) \(release\), REVISION: (\d+)(?:\.(\d+))?", text)
    if match is None:
        return ""
    release, revision, patch = match.groups()
    version = f"{release}.{revision}.{patch or 0}"
    return _JETPACK_OF_L4T.get(version, f"L4T{version}")


def _version(distributions: Sequence[str]) -> str:
    for name in distributions:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return ""


def _module_version(module: str) -> str:
    """Version of a library that was installed without a package's metadata, as it says itself."""
    try:
        imported = require(module, install="NVIDIA's packages", purpose="looking at its version")
    except RuntimeNotAvailableError:
        return ""
    return str(getattr(imported, "__version__", ""))
