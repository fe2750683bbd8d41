"""Checks that the build really made the Python messages: their generators are looked for quietly and can be missed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from .failure import SetupError
from .layout import PACKAGE_NAME, Layout
from .ros_source import RosSource
from .workspace import build_environment

__all__ = ["check_generated_messages", "interface_names"]


def interface_names(root: Path) -> tuple[str, ...]:
    """Interfaces of the tree as ``msg.GlobalDescriptor``, ``srv.LoadEngine``."""
    files = [*root.glob("msg/*.msg"), *root.glob("srv/*.srv")]
    return tuple(sorted(f"{file.parent.name}.{file.stem}" for file in files))


def check_generated_messages(layout: Layout, ros: RosSource) -> None:
    """Import every interface of the build, with its compiled type support, in a child process.

    Raises:
        SetupError: Names the interfaces that cannot be imported.
    """
    prefix = layout.install / PACKAGE_NAME
    environment = build_environment(layout, ros)
    folders = [str(path) for path in sorted(prefix.glob("lib/python3*/*-packages"))]
    environment["PYTHONPATH"] = os.pathsep.join([*folders, environment.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    libraries = [str(prefix / "lib"), environment.get("LD_LIBRARY_PATH", "")]
    environment["LD_LIBRARY_PATH"] = os.pathsep.join(libraries).rstrip(os.pathsep)
    names = interface_names(layout.root)
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    kind, _, stem = name.partition('.')\n"
        "    try:\n"
        f"        interface = getattr(importlib.import_module('{PACKAGE_NAME}.' + kind), stem)\n"
        "        type(interface).__import_type_support__()\n"
        "        assert type(interface)._TYPE_SUPPORT is not None, 'no type support'\n"
        "    except Exception as error:\n"
        "        print(name, repr(error))\n"
    )
    arguments = [str(layout.python), "-B", "-c", code, *names]
    answer = subprocess.run(arguments, env=environment, cwd=layout.install, capture_output=True, text=True, check=False)
    log = layout.logs / "messages.txt"
    log.write_text(answer.stdout + answer.stderr, encoding="utf-8")
    if answer.returncode != 0 or answer.stdout.strip():
        missing = ", ".join(line.split()[0] for line in answer.stdout.splitlines()) or "all"
        raise SetupError(
            f"The build made no usable Python code for these interfaces: {missing}; read {log} and "
            f"{layout.logs / 'build.txt'}, then run 'make clean' and 'make setup'."
        )
