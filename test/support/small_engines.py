"""Engines of a few bytes in a store: what the store, the gate and the signature look at, without a network."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gps_denied_inference.core.contracts import OptimizationProfile, PrecisionMode, RuntimeLabel
from gps_denied_inference.core.engines import EngineStore, ManifestEntry
from gps_denied_inference.core.engines.file_name import EngineFileName

__all__ = ["DETAILS", "HOST_NAME", "NAME", "add_engine", "snapshot"]

NAME = EngineFileName("small_model", RuntimeLabel.ONNX_TRT_EP, (), "any", "onnx", PrecisionMode.FP32, "0" * 12, ".onnx")
"""Portable."""

HOST_NAME = EngineFileName(
    "small_model", RuntimeLabel.TENSORRT, ("87",), "jp6.2", "trt10.3.0", PrecisionMode.FP16, "0" * 12, ".engine"
)
"""Of one kind of computer."""

DETAILS = ManifestEntry(
    file_name="",
    sha256="",
    size_bytes=0,
    model="small_model",
    runtime=RuntimeLabel.ONNX_TRT_EP,
    precision=PrecisionMode.FP32,
    weights_sha256="a" * 64,
    preprocess_sha256="b" * 64,
    source_onnx_sha256="c" * 64,
    license="Apache-2.0",
    built_at="2026-11-01T12:00:00Z",
    package_version="0.1.0",
    profiles=(OptimizationProfile("image", (1, 3, 32, 32), (2, 3, 32, 32), (4, 3, 32, 32)),),
    build_flags={"provider": "cpu"},
    memory_bytes=1000,
)


def add_engine(
    store: EngineStore,
    content: bytes = b"engine",
    name: EngineFileName = NAME,
    golden: bytes = b"golden",
    preprocess_sha256: str = DETAILS.preprocess_sha256,
    build_flags: Mapping[str, str] = DETAILS.build_flags,
) -> Path:
    """Put an engine with its golden outputs into the store; returns its path."""
    details = replace(
        DETAILS,
        model=name.model,
        runtime=name.runtime,
        precision=name.precision,
        preprocess_sha256=preprocess_sha256,
        build_flags=build_flags,
    )
    return store.path_of(store.add(content, name=name, details=details, artefacts={".golden.npz": golden}))


def snapshot(folder: Path) -> dict[str, tuple[object, ...]]:
    """Every name in a folder with its content and times."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        is_plain = path.is_file() and not path.is_symlink()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if is_plain else ""
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_mtime_ns, status.st_ino, content)
    return found
