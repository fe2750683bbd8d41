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

__all__ = ["HostTuple", "probe_host", "read_host"]

# Jetson Linux (L4T) → JetPack, from NVIDIA's JetPack release notes; unlisted releases are called by their L4T name.
_JETPACK_OF_L4T = {
    "35.3": "5.1.1", "35.4": "5.1.2", "35.5": "5.1.3", "35.6": "5.1.4",
    "36.2": "6.0", "36.3": "6.0", "36.4": "6.1", "36.4.3": "6.2", "36.4.4": "6.2.1",
    "38.2": "7.0", "38.4": "7.1",
}  # fmt: skip
_TENSORRT_PACKAGES = ("tensorrt", "tensorrt-cu13", "tensorrt-cu12")
_TENSORRT_RTX_PACKAGES = ("tensorrt-rtx", "tensorrt-rtx-cu13", "tensorrt-rtx-cu12")
_ONNXRUNTIME_PACKAGES = ("onnxruntime-gpu", "onnxruntime")


@dataclass(frozen=True, slots=True)
class HostTuple:
    """What engines are built for. Empty where a part is absent.

    Attributes:
        sms: compute capabilities of the GPUs without the point, e.g. `("87",)`.
        jetpack: e.g. `6.2`.
        cuda: newest CUDA version that the driver runs, e.g. `13.0`.
        tensorrt, tensorrt_rtx, onnxruntime, torch: versions of the packages.
        machine: e.g. `aarch64`.
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
    """Look at this computer, once a process. Nothing that is heavy is imported."""
    return read_host()


def read_host(root: Path = Path("/"), nvml: Any = None) -> HostTuple:
    """Look at a computer.

    Args:
        root: where `/etc/nv_tegra_release` is looked for.
        nvml: the module pynvml; the installed one, when None.
    """
    sms, cuda = _gpus(nvml)
    return HostTuple(
        sms=sms,
        jetpack=_jetpack(root / "etc" / "nv_tegra_release"),
        cuda=cuda,
        tensorrt=_version(_TENSORRT_PACKAGES),
        tensorrt_rtx=_version(_TENSORRT_RTX_PACKAGES),
        onnxruntime=_version(_ONNXRUNTIME_PACKAGES),
        torch=_version(("torch",)).partition("+")[0],
        machine=platform.machine(),
    )


def _gpus(nvml: Any) -> tuple[tuple[str, ...], str]:
    """Compute capabilities and the driver's CUDA version; empty without a driver."""
    if nvml is None:
        try:
            nvml = require("pynvml", install="pip install nvidia-ml-py", purpose="looking at the GPUs")
        except RuntimeNotAvailableError:
            return (), ""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return (), ""
    try:
        found = set()
        for index in range(nvml.nvmlDeviceGetCount()):
            major, minor = nvml.nvmlDeviceGetCudaComputeCapability(nvml.nvmlDeviceGetHandleByIndex(index))
            found.add(f"{major}{minor}")
        version = int(nvml.nvmlSystemGetCudaDriverVersion_v2())
        return tuple(sorted(found, key=int)), f"{version // 1000}.{version % 1000 // 10}"
    except nvml.NVMLError:
        return (), ""
    finally:
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


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
    exact = f"{release}.{revision}.{patch}"
    return _JETPACK_OF_L4T.get(exact) or _JETPACK_OF_L4T.get(f"{release}.{revision}") or f"L4T{exact}"


def _version(distributions: Sequence[str]) -> str:
    for name in distributions:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return ""
