"""The same code as a pip package, on a machine without ROS."""

from __future__ import annotations

import json
import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from bags import write_image_bag
from tree_copy import ROOT, bare_environment, copy_sources


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = copy_sources(folder / "tree")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", folder, source],
        env=bare_environment(folder / "home"),
        check=True,
        capture_output=True,
        timeout=120,
    )
    return next(folder.glob("gps_denied_inference-*.whl"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Interpreter of an environment that holds the wheel, numpy and PyYAML; nothing of ROS."""
    folder = tmp_path_factory.mktemp("machine")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "v"], check=True, timeout=60)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "v" / "lib" / version / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    link_packages(packages, "numpy", "numpy.libs", "yaml", "_yaml")
    return folder / "v" / "bin" / "python"


def link_packages(folder: Path, *names: str) -> None:
    """Put packages of this interpreter into a folder, those that it has."""
    for name in names:
        for parent in (*site.getsitepackages(), *sys.path):
            if Path(parent, name).exists():
                (folder / name).symlink_to(Path(parent, name))
                break


def run(python: Path, code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = bare_environment(python.parents[2] / "home", **variables)
    return subprocess.run([python, "-c", code], cwd="/", env=environment, capture_output=True, text=True, timeout=60)


def run_gdi(python: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; from gps_denied_inference.cli.main import main; sys.exit(main({list(arguments)!r}))"
    return run(python, code, **variables)


def test_wheel_holds_messages_types_and_licence_but_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for file in (ROOT / "msg").glob("*.msg"):
        assert f"gps_denied_inference/core/interface_files/{file.name}" in names
    assert "gps_denied_inference/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"gps_denied_inference"}


def test_wheel_holds_every_module_of_the_tree(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(file.relative_to(ROOT)) for file in (ROOT / "gps_denied_inference").rglob("*.py")}
    assert modules - names == set()


def test_gdi_answers_without_ros(python: Path) -> None:
    code = (
        "import sys\n"
        "from importlib.metadata import entry_points\n"
        "main = entry_points(group='console_scripts')['gdi'].load()\n"
        "try:\n"
        "    status = main(['--help'])\n"
        "except SystemExit as stop:\n"
        "    status = stop.code\n"
        "assert not [name for name in sys.modules if name.partition('.')[0] in ('rclpy', 'torch', 'cv2')]\n"
        "sys.exit(status)\n"
    )
    answer = run(python, code)
    assert answer.returncode == 0, answer.stderr
    assert "replay" in answer.stdout


def test_gdi_lists_the_networks_without_ros(python: Path) -> None:
    answer = run_gdi(python, "models")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "efficientnet_lite0_grid" in answer.stdout and "xfeat" in answer.stdout


def test_gdi_replays_a_bag_offline_without_ros(python: Path, tmp_path: Path) -> None:
    link_packages(
        tmp_path,
        *("rosbags", "ruamel", "lz4", "apsw", "backports", "typing_extensions.py"),
        *("cv2", "opencv_python_headless.libs"),
    )
    bag, report = write_image_bag(tmp_path / "bag"), tmp_path / "report.json"
    (tmp_path / "script.yaml").write_text("latency_ms: 0\n")
    engine = ("--runtime", "fake", "--checkpoint", str(tmp_path / "script.yaml"))
    answer = run_gdi(python, "replay", str(bag), "--report", str(report), *engine, PYTHONPATH=str(tmp_path))
    assert answer.returncode == 0, answer.stderr
    figures = json.loads(report.read_text())
    assert figures["frames_in"] == figures["frames_published"] == 6


def test_every_module_of_the_core_imports_without_its_optional_packages(python: Path) -> None:
    code = (
        "import importlib, pkgutil, gps_denied_inference.core as core\n"
        "names = [m.name for m in pkgutil.walk_packages(core.__path__, core.__name__ + '.')]\n"
        "for name in names:\n"
        "    if '.networks' not in name:\n"
        "        importlib.import_module(name)\n"
        "print(len(names))\n"
    )
    answer = run(python, code)
    assert answer.returncode == 0, answer.stderr
    assert int(answer.stdout) > 20


def test_message_definitions_are_found_where_pip_put_them(python: Path) -> None:
    code = "from gps_denied_inference.core.interface.files import interface_files; print(*sorted(interface_files()))"
    answer = run(python, code)
    assert answer.stdout.split() == sorted(file.stem for file in (ROOT / "msg").glob("*.msg")), answer.stderr
