"""Everything imports on a machine that has none of the heavy packages; using one there says how to get it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HEAVY = ("torch", "cv2", "kornia", "onnxruntime", "tensorrt", "tensorrt_rtx", "pynvml", "jtop", "rclpy", "PIL")

BLOCK = f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
"""


def run_without_heavy_packages(program: str) -> str:
    finished = subprocess.run([sys.executable, "-c", BLOCK + program], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_every_module_of_core_and_cli_imports() -> None:
    # Network definitions are torch modules: the registry imports one only when it is built (next test).
    imported = run_without_heavy_packages("""
import importlib, pkgutil
import gps_denied_inference.core, gps_denied_inference.cli
for package in (gps_denied_inference.core, gps_denied_inference.cli):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not found.name.startswith("gps_denied_inference.core.architectures.networks."):
            importlib.import_module(found.name)
            print(found.name)
""").split()
    assert "gps_denied_inference.core.runtime.pytorch_fp16" in imported
    assert len(imported) > 40


def test_building_a_network_names_the_package_and_the_install_command() -> None:
    printed = run_without_heavy_packages("""
from gps_denied_inference.core.architectures import default_registry
from gps_denied_inference.core.errors import RuntimeNotAvailableError
for name in ("efficientnet_lite0_grid", "xfeat"):
    try:
        default_registry().lookup(name).build()
    except RuntimeNotAvailableError as error:
        print(error)
""").splitlines()
    assert len(printed) == 2
    assert all("'torch'" in line and "pip install torch==" in line for line in printed)


def test_using_the_pytorch_runtime_names_the_package_and_the_install_command(tmp_path: Path) -> None:
    checkpoint = tmp_path / "xfeat.pt"
    checkpoint.write_bytes(b"0")
    printed = run_without_heavy_packages(f"""
from pathlib import Path
from gps_denied_inference.core.contracts import BuildConfig, EngineCacheEntry, PrecisionMode, RuntimeLabel
from gps_denied_inference.core.errors import RuntimeNotAvailableError
from gps_denied_inference.core.runtime import BuildFlags, RuntimeOptions, create_runtime
import hashlib
runtime = create_runtime(RuntimeLabel.PYTORCH_FP16, enabled=frozenset(RuntimeLabel), build_flags=BuildFlags(),
                         options=RuntimeOptions())
path = Path({str(checkpoint)!r})
entry = EngineCacheEntry(path, hashlib.sha256(b"0").hexdigest(), PrecisionMode.FP16, extras={{"model_name": "xfeat"}})
for use in (lambda: runtime.compile_engine(path, BuildConfig()), lambda: runtime.deserialize_engine(entry)):
    try:
        use()
    except RuntimeNotAvailableError as error:
        print(error)
""").splitlines()
    assert len(printed) == 2
    assert all("'torch'" in line and "pip install torch==" in line for line in printed)


def test_fake_runtime_needs_none_of_them(tmp_path: Path) -> None:
    script = tmp_path / "xfeat.yaml"
    script.write_text("latency_ms: 0")
    printed = run_without_heavy_packages(f"""
from pathlib import Path
import numpy as np
from gps_denied_inference.core.contracts import BuildConfig
from gps_denied_inference.core.runtime.fake import FakeRuntime
runtime = FakeRuntime()
handle = runtime.deserialize_engine(runtime.compile_engine(Path({str(script)!r}), BuildConfig()))
print(*runtime.infer(handle, {{"image": np.zeros((1, 3, 480, 640), np.float32)}}))
""")
    assert printed.split() == ["keypoints", "scores", "descriptors"]
