"""Figures in a JSON file that grows row by row."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gps_denied_inference import __version__
from gps_denied_inference.core.atomic_files import write_atomically
from gps_denied_inference.core.errors import EvaluationError

__all__ = ["ResultFile", "read_results"]

_FORMAT = "gps_denied_inference evaluation 1"


class ResultFile:
    """Rows of figures on the same data. Written after each row, so that an interrupted run can go on.

    Args:
        path: of the file; None keeps the rows in memory alone.
        kind: `vpr` or `match`.
        data: what the rows were measured on; rows of other data don't belong into the same file.
        device: that computes.
    """

    def __init__(self, path: Path | None, kind: str, data: Mapping[str, Any], device: str) -> None:
        self._path = path
        self._content: dict[str, Any] = {
            "format": _FORMAT,
            "kind": kind,
            "data": _plain(data),
            "machine": _machine(device),
            "version": __version__,
            "rows": [],
        }
        if path is not None and path.exists():
            found = read_results(path)
            for name in ("kind", "data"):
                if found[name] != self._content[name]:
                    raise EvaluationError(
                        f"{path} holds figures of other data ({name}: {json.dumps(found[name])[:300]}); give another "
                        "file, or remove it"
                    )
            self._content["rows"] = found["rows"]

    @property
    def content(self) -> Mapping[str, Any]:
        """All of it, as JSON has it."""
        return self._content

    def holds(self, row: str, weights: str) -> bool:
        """The row has been measured."""
        return any((item["row"], item["weights"]) == (row, weights) for item in self._content["rows"])

    def add(self, row: str, weights: str, figures: Mapping[str, Any]) -> None:
        """Keep a row and write the file.

        Raises:
            EngineBuildError: the file cannot be written.
        """
        measured_at = datetime.now(UTC).strftime("%Y-%m-%d")
        self._content["rows"].append({"row": row, "weights": weights, "measured_at": measured_at, **_plain(figures)})
        if self._path is not None:
            write_atomically(self._path, (json.dumps(self._content, indent=1, ensure_ascii=False) + "\n").encode())


def read_results(path: Path) -> dict[str, Any]:
    """Read such a file.

    Raises:
        EvaluationError: it is missing, or something else.
    """
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT or content["kind"] not in ("vpr", "match"):
            raise ValueError(f"its format is {content['format']!r}, this version reads {_FORMAT!r}")
        for row in content["rows"]:
            if not {"row", "weights", "scores"} <= set(row):
                raise ValueError("a row is incomplete")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvaluationError(f"{path} is no file that 'gdi eval' wrote ({type(error).__name__}: {error})") from error
    return dict(content)


def _plain(value: Any) -> Any:
    """What JSON has: numbers that are not finite become null, others are rounded to what is worth reading."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value


def _machine(device: str) -> str:
    """What computed, without the names of anybody's computers."""
    try:
        torch = f"torch {version('torch').partition('+')[0]}"
    except PackageNotFoundError:
        torch = "no torch"
    where = f"{len(os.sched_getaffinity(0))} cores of a CPU ({platform.machine()})" if device == "cpu" else "a GPU"
    return f"{where}, FP32, {torch}"
