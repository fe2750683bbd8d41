"""Plain and link builds with colcon, into folders of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from environment.generated_messages import interface_names
from tree_copy import bare_environment, copy_sources

PACKAGE = "gps_denied_inference"
NODES = (
    "inference_node",
    "pytorch_fp16_node",
    "tensorrt_node",
    "onnx_trt_ep_node",
    "thermal_monitor_node",
    "place_recognition_node",
    "matcher_node",
    "refinement_node",
    "debug_overlay_node",
)


@dataclass(frozen=True, slots=True)
class Build:
    source: Path
    prefix: Path
    is_linked: bool
    home: Path

    @property
    def python_folder(self) -> Path:
        return next(self.prefix.glob(f"lib/python3*/*-packages/{PACKAGE}"))

    def run(self, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a program in a shell where nothing was sourced, from a folder without sources."""
        return subprocess.run(
            [str(argument) for argument in arguments],
            cwd=self.home,
            env=bare_environment(self.home, **variables),
            capture_output=True,
            text=True,
            timeout=120,
        )


# The set-up builds with links, and every other test works on that.
@pytest.fixture(scope="module", params=["plain", pytest.param("links", marks=pytest.mark.long)])
def build(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Build]:
    folder = tmp_path_factory.mktemp(request.param)
    source = copy_sources(folder / "tree")
    (source / PACKAGE / "__pycache__").mkdir()
    (source / PACKAGE / "__pycache__" / "stale.pyc").write_bytes(b"")
    is_linked = request.param == "links"
    colcon = shutil.which("colcon")
    assert colcon is not None, "colcon is not in PATH: source env.sh"
    # Overlays of this checkout would hide what the new build lacks.
    environment = {
        name: os.pathsep.join(entry for entry in value.split(os.pathsep) if f"/install/{PACKAGE}" not in entry)
        for name, value in os.environ.items()
    }
    command = [
        *(colcon, "--log-base", str(folder / "log"), "build", *(["--symlink-install"] if is_linked else [])),
        *("--paths", str(source), "--build-base", str(folder / "build"), "--install-base", str(folder / "install")),
        *("--cmake-args", f"-DPython3_EXECUTABLE={sys.executable}", "-DBUILD_TENSORRT_RUNTIME=OFF"),
    ]
    answer = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout[-4000:] + answer.stderr[-4000:]
    home = folder / "home"
    home.mkdir()
    yield Build(source, folder / "install" / PACKAGE, is_linked, home)
    shutil.rmtree(folder)


def test_install_holds_links_or_copies_as_asked(build: Build) -> None:
    module = build.python_folder / "core" / "errors.py"
    assert module.is_file()
    assert module.is_symlink() == build.is_linked


def test_build_flags_are_installed_and_not_in_the_source_tree(build: Build) -> None:
    flags = json.loads((build.python_folder / "core" / "build_flags.json").read_text())
    assert flags == {
        "BUILD_PYTORCH_FP16_RUNTIME": True,
        "BUILD_TENSORRT_RUNTIME": False,
        "BUILD_ONNX_TRT_EP_RUNTIME": True,
    }
    assert list(build.source.rglob("build_flags.json")) == []


def test_install_holds_message_definitions_launch_files_and_parameters(build: Build) -> None:
    definitions = {file.name for file in (build.source / "msg").glob("*.msg")}
    assert {file.name for file in (build.python_folder / "core" / "interface_files").iterdir()} == definitions
    for folder in ("launch", "config"):
        if (build.source / folder).is_dir():
            expected = {file.name for file in (build.source / folder).iterdir()}
            assert {file.name for file in (build.prefix / "share" / PACKAGE / folder).iterdir()} == expected


def test_install_holds_no_bytecode(build: Build) -> None:
    assert list(build.prefix.rglob("__pycache__")) == []
    assert list(build.prefix.rglob("*.pyc")) == []


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("guard", ["", "1"])
def test_node_imports_with_nothing_sourced(build: Build, node: str, guard: str) -> None:
    executable = build.prefix / "lib" / PACKAGE / node
    assert os.access(executable, os.X_OK)
    assert executable.read_text().splitlines()[0] == f"#!{sys.executable}"
    names = ", ".join(name.partition(".")[2] for name in interface_names(build.source) if name.startswith("msg."))
    code = (
        "import runpy, sys\n"
        f"space = runpy.run_path({str(executable)!r}, run_name='imported')\n"
        f"from {PACKAGE}.msg import {names}\n"
        "type(ThermalState).__import_type_support__()\n"
        f"print(space[{node!r}].__module__, sys.modules['{PACKAGE}'].__file__)\n"
    )
    answer = build.run(sys.executable, "-c", code, _ROS_WHEELS_BOOTSTRAP_COMPLETE=guard)
    assert answer.stderr == ""
    assert answer.stdout.split() == [f"{PACKAGE}.ros.main", str(build.python_folder / "__init__.py")]


def test_gdi_runs_with_nothing_sourced(build: Build) -> None:
    answer = build.run(build.prefix / "bin" / "gdi", "--help")
    assert answer.returncode == 0, answer.stderr
    assert "replay" in answer.stdout
