"""``make setup``: virtual environment, packages, cmake path patch, build; a second call finds nothing to do."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .cmake_paths import mend_cmake_paths
from .failure import SetupError
from .generated_messages import check_generated_messages
from .interpreter import use_fitting_interpreter
from .layout import Layout
from .packages import install_packages, requirement_files
from .prerequisites import check_build_tools, check_prerequisites
from .ros_source import RosSource, find_ros_source
from .shell_file import write_shell_file
from .stamp import build_key, changed_parts, is_current, packages_key, write_stamp
from .virtual_environment import make_virtual_environment
from .workspace import build_workspace, remove_build


def main() -> int:
    """Set up the tree; 0 on success, 1 after one sentence on standard error."""
    layout = Layout(root=Path(__file__).resolve().parents[2])
    try:
        _set_up(layout)
    except SetupError as failure:
        return _say(str(failure))
    except KeyboardInterrupt:
        return _say("Interrupted: run 'make setup' again, it goes on from the last finished step.", status=130)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            return _say(f"The disk that holds {layout.root} is full: make room and run again.")
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            return _say(f"{error.filename or layout.root} is not writable: make it so and run again.")
        return _say(f"The system refused a file operation ({error}): mend that and run again.")
    return 0


def _say(sentence: str, *, status: int = 1) -> int:
    print(f"\nsetup: {sentence}", file=sys.stderr)
    return status


def _set_up(layout: Layout) -> None:
    _restore_python_path()
    ros = find_ros_source(os.environ, own_prefixes=(layout.venv, layout.install / "gps_denied_inference"))
    use_fitting_interpreter(ros)
    has_colcon = _has_system_colcon(layout)
    packages = packages_key(layout, ros, requirement_files(layout, ros, has_colcon=has_colcon))
    build = build_key(layout, packages)
    if is_current(layout.packages_stamp, packages) and is_current(layout.build_stamp, build):
        return
    layout.logs.mkdir(parents=True, exist_ok=True)
    with _only_one_at_a_time(layout):
        has_packages = is_current(layout.packages_stamp, packages)
        check_prerequisites(layout.root, ros, is_installed=has_packages)
        check_build_tools(ros)
        if not has_packages:
            changed = changed_parts(layout.packages_stamp, packages)
            if changed:
                print(f"setup: changed since the last time: {', '.join(changed)}", flush=True)
            _install(layout, ros, packages, has_colcon=has_colcon)
        if not is_current(layout.build_stamp, build):
            _build(layout, ros, build, has_colcon=has_colcon)


def _install(layout: Layout, ros: RosSource, key: str, *, has_colcon: bool) -> None:
    kind = f"the sourced ROS at {ros.prefix}" if ros.is_sourced else "ROS 2 Jazzy from wheels"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    with _step(f"virtual environment with Python {version} and {kind}"):
        remove_build(layout)
        make_virtual_environment(layout, ros)
    with _step(f"packages (pip's output: {_shown(layout, layout.logs)})"):
        install_packages(layout, ros, has_colcon=has_colcon)
    if not ros.is_sourced:
        with _step("paths in the wheels' cmake files"):
            mend_cmake_paths(layout)
    write_shell_file(layout, ros)
    write_stamp(layout.packages_stamp, key)


def _build(layout: Layout, ros: RosSource, key: str, *, has_colcon: bool) -> None:
    with _step(f"colcon build (output: {_shown(layout, layout.logs / 'build.txt')})"):
        build_workspace(layout, ros, has_colcon=has_colcon)
    with _step("import of every generated message"):
        check_generated_messages(layout, ros)
    write_stamp(layout.build_stamp, key)


def _has_system_colcon(layout: Layout) -> bool:
    folders = [entry for entry in os.get_exec_path() if Path(entry) != layout.venv / "bin"]
    return shutil.which("colcon", path=os.pathsep.join(folders)) is not None


def _restore_python_path() -> None:
    """Give children the PYTHONPATH of the caller back; ``setup.sh`` lent it to this package."""
    value = os.environ.pop("PYTHONPATH_OF_CALLER", "")
    if value:
        os.environ["PYTHONPATH"] = value
    else:
        os.environ.pop("PYTHONPATH", None)


def _shown(layout: Layout, path: Path) -> str:
    return str(path.relative_to(layout.root))


@contextmanager
def _step(title: str) -> Iterator[None]:
    print(f"setup: {title} ", end="", flush=True)
    start = time.monotonic()
    yield
    print(f" {time.monotonic() - start:.0f} s", flush=True)


@contextmanager
def _only_one_at_a_time(layout: Layout) -> Iterator[None]:
    with (layout.logs / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("setup: another set-up of this tree is running; waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
