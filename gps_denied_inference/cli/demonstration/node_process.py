"""The inference node, as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from gps_denied_inference.core.errors import ReplayError

__all__ = ["NodeProcess", "NodeSpec", "find_node_executable"]

_PACKAGE = "gps_denied_inference"
_LOG_LINES = 4
_STOP_TIMEOUT_S = 15.0
# "[INFO] [1767225600.000000000] [inference_node]: " in front of what the node says.
_LOG_PREFIX = re.compile(r"^\[(\w+)\] \[[\d.]+\] \[[^\]]*\]: ")


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A lifecycle node to start.

    Attributes:
        name: fully qualified.
        executable: of the node.
        parameters: name → value, as on the command line.
        remappings: from → to, names of topics, `__ns` among them.
    """

    name: str
    executable: Path
    parameters: Mapping[str, str]
    remappings: Mapping[str, str] = field(default_factory=dict)


def find_node_executable(name: str = "inference_node") -> Path:
    """Return the installed executable.

    Raises:
        ReplayError: the package is not built, or its environment not sourced.
    """
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        path = Path(prefix) / "lib" / _PACKAGE / name
        if prefix and path.is_file():
            return path
    raise ReplayError(
        f"the node '{name}' is not built or not sourced; run 'make setup' and '. ./env.sh' (or source the workspace "
        "that holds it)"
    )


class NodeProcess:
    """A started node. A context manager: leaving it ends the process by SIGINT and waits for it.

    Args:
        executable: of the node, or its command.
        parameters: name → value, as on the command line.
        log: file that takes what the process writes.
        environment: variables added to our own.
        remappings: from → to.
    """

    def __init__(
        self,
        executable: Path | Sequence[str],
        parameters: Mapping[str, str],
        log: Path,
        environment: Mapping[str, str],
        remappings: Mapping[str, str] | None = None,
    ) -> None:
        command = [str(executable)] if isinstance(executable, Path) else list(executable)
        command.append("--ros-args")
        for name, value in parameters.items():
            command += ["-p", f"{name}:={value}"]
        for name, target in (remappings or {}).items():
            command += ["-r", f"{name}:={target}"]
        self._log = log
        self.started = time.monotonic()
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env={**os.environ, **environment}
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        """Complain when the process has ended.

        Raises:
            ReplayError: it has; tells its last words.
        """
        status = self._process.poll()
        if status is not None:
            raise ReplayError(f"the node ended with status {status}; its last words: {self.last_words()}")

    def last_words(self) -> str:
        """Return the last lines of its log, in one."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-_LOG_LINES:]
        return " | ".join(_LOG_PREFIX.sub("", line) for line in lines) or "(none)"

    def stop(self) -> int:
        """End the process by SIGINT and return its exit status. Idempotent; kills it when it does not obey."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        return int(self._process.returncode)
