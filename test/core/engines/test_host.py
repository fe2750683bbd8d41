"""What is read of a computer, with the driver's library and the release files injected."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from gps_denied_inference.core.engines import host as host_module
from gps_denied_inference.core.engines.host import HostTuple, gpu_names, probe_host, read_host


class NvmlError(Exception):
    pass


class ScriptedNvml:
    """As much of pynvml as is asked; what stands in `failing` raises."""

    NVMLError = NvmlError

    def __init__(self, capabilities: tuple[tuple[int, int], ...], cuda: int = 13000, failing: str = "") -> None:
        self.capabilities, self.cuda, self.failing = capabilities, cuda, failing
        self.calls: list[str] = []

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name == self.failing:
            raise NvmlError(name)

    def nvmlInit(self) -> None:  # noqa: N802 - pynvml's name
        self._call("nvmlInit")

    def nvmlShutdown(self) -> None:  # noqa: N802 - pynvml's name
        self._call("nvmlShutdown")

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:  # noqa: N802 - pynvml's name
        self._call("nvmlSystemGetCudaDriverVersion_v2")
        return self.cuda

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802 - pynvml's name
        self._call("nvmlDeviceGetCount")
        return len(self.capabilities)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802 - pynvml's name
        return index

    def nvmlDeviceGetName(self, handle: int) -> bytes | str:  # noqa: N802 - pynvml's name
        self._call("nvmlDeviceGetName")
        return b"NVIDIA H200" if handle == 0 else f"GPU {handle}"  # older versions give bytes

    def nvmlDeviceGetCudaComputeCapability(self, handle: int) -> tuple[int, int]:  # noqa: N802 - pynvml's name
        self._call("nvmlDeviceGetCudaComputeCapability")
        return self.capabilities[handle]


def tree(root: Path, *, release: str = "", compatible: str = "") -> Path:
    if release:
        (root / "etc").mkdir()
        (root / "etc" / "nv_tegra_release").write_text(release)
    if compatible:
        (root / "proc" / "device-tree").mkdir(parents=True)
        (root / "proc" / "device-tree" / "compatible").write_bytes(compatible.encode("ascii"))
    return root


def test_gpus_and_driver_come_from_nvml(tmp_path: Path) -> None:
    nvml = ScriptedNvml(((9, 0), (8, 9), (9, 0), (12, 0)), cuda=12060)
    found = read_host(tmp_path, nvml)
    assert (found.sms, found.cuda, found.jetpack) == (("89", "90", "120"), "12.6", "")
    assert found.machine == platform.machine()
    assert nvml.calls[-1] == "nvmlShutdown"


def test_gpus_have_names_and_a_jetson_that_of_its_board(tmp_path: Path) -> None:
    assert gpu_names(tmp_path, ScriptedNvml(((9, 0), (8, 9)))) == ("NVIDIA H200", "GPU 1")
    silent = ScriptedNvml(((8, 7),), failing="nvmlDeviceGetName")
    assert gpu_names(tmp_path, silent) == ()
    root = tree(tmp_path, compatible="nvidia,p3701\0nvidia,tegra234\0")
    (root / "proc" / "device-tree" / "model").write_bytes(b"NVIDIA Jetson AGX Orin\0")
    assert gpu_names(root, silent) == ("NVIDIA Jetson AGX Orin",)


def test_computer_without_a_driver_has_no_gpu(tmp_path: Path) -> None:
    found = read_host(tmp_path, ScriptedNvml(((9, 0),), failing="nvmlInit"))
    assert (found.sms, found.cuda) == ((), "")


@pytest.mark.parametrize(
    ("failing", "sms", "cuda"),
    [
        ("nvmlSystemGetCudaDriverVersion_v2", ("90",), ""),
        ("nvmlDeviceGetCount", (), "13.0"),
        ("nvmlDeviceGetCudaComputeCapability", (), "13.0"),
        ("nvmlShutdown", ("90",), "13.0"),
    ],
)
def test_question_that_nvml_cannot_answer_leaves_the_others(
    failing: str, sms: tuple[str, ...], cuda: str, tmp_path: Path
) -> None:
    found = read_host(tmp_path, ScriptedNvml(((9, 0),), failing=failing))
    assert (found.sms, found.cuda) == (sms, cuda)


@pytest.mark.parametrize(
    ("release", "jetpack"),
    [
        ("# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64", "5.1.2"),
        ("# R36 (release), REVISION: 3.0, GCID: 36191598, BOARD: generic, EABI: aarch64", "6.0"),
        ("# R36 (release), REVISION: 4.0, GCID: 37537400, BOARD: generic, EABI: aarch64", "6.1"),
        ("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64", "6.2"),
        ("# R36 (release), REVISION: 4.4, GCID: 41062509, BOARD: generic, EABI: aarch64", "6.2.1"),
        ("# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic, EABI: aarch64", "7.0"),
        ("# R38 (release), REVISION: 2, GCID: 1, BOARD: generic, EABI: aarch64", "7.0"),
        ("# R38 (release), REVISION: 4.0, GCID: 1, BOARD: generic, EABI: aarch64", "7.1"),
        # One that is not listed may bring another TensorRT: it is called by its own name.
        ("# R36 (release), REVISION: 9.7, GCID: 1, BOARD: generic, EABI: aarch64", "L4T36.9.7"),
        ("no release", ""),
    ],
)
def test_release_file_tells_the_jetpack(release: str, jetpack: str, tmp_path: Path) -> None:
    root = tree(tmp_path, release=f"{release}\n# KERNEL_VARIANT: oot\n")
    assert read_host(root, ScriptedNvml(())).jetpack == jetpack


@pytest.mark.parametrize(
    ("compatible", "sms"),
    [
        ("nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0", ("87",)),
        ("nvidia,p3971-0080+p3834-0008\0nvidia,tegra264\0", ("110",)),
        ("raspberrypi,5-model-b\0brcm,bcm2712\0", ()),
    ],
)
def test_device_tree_tells_the_gpu_where_nvml_does_not(compatible: str, sms: tuple[str, ...], tmp_path: Path) -> None:
    root = tree(tmp_path, compatible=compatible)
    assert read_host(root, ScriptedNvml((), failing="nvmlInit")).sms == sms
    assert read_host(root, ScriptedNvml(((8, 6),))).sms == ("86",)


def test_versions_are_those_of_the_installed_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Names that only exist here: what this computer has installed must not matter.
    versions = {"tensorrt-x": "10.3.0", "rtx-cu13-x": "1.7.1.116", "ort-x": "1.32.0"}
    for name, version in versions.items():
        folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(host_module, "_TENSORRT_PACKAGES", ("tensorrt-x",))
    monkeypatch.setattr(host_module, "_TENSORRT_RTX_PACKAGES", ("absent-x", "rtx-cu13-x"))
    monkeypatch.setattr(host_module, "_ONNXRUNTIME_PACKAGES", ("ort-x",))
    found = read_host(tmp_path, ScriptedNvml(()))
    assert (found.tensorrt, found.tensorrt_rtx, found.onnxruntime) == ("10.3.0", "1.7.1.116", "1.32.0")


def test_version_of_a_library_without_package_metadata_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorrt_of_the_system.py").write_text("__version__ = '10.7.0'\n")
    (tmp_path / "tensorrt_that_is_broken.py").write_text("raise ImportError('libnvinfer.so.10')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(host_module, "_TENSORRT_PACKAGES", ("absent-x",))
    monkeypatch.setattr(host_module, "_TENSORRT_RTX_PACKAGES", ("absent-x",))
    for module, version in (("tensorrt_of_the_system", "10.7.0"), ("tensorrt_that_is_broken", ""), ("no_such_x", "")):
        monkeypatch.setattr(host_module, "_TENSORRT_MODULE", module)
        assert read_host(tmp_path, ScriptedNvml(())).tensorrt == version
        sys.modules.pop(module, None)


def test_computer_is_probed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    readings: list[int] = []

    def read() -> HostTuple:
        readings.append(1)
        return HostTuple(machine="scripted")

    monkeypatch.setattr(host_module, "read_host", read)
    probe_host.cache_clear()
    try:
        assert probe_host() is probe_host()
        assert (probe_host().machine, len(readings)) == ("scripted", 1)
    finally:
        probe_host.cache_clear()
