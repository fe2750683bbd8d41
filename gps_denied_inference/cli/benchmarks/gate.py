"""Part (j): what the engine gate costs beside the hash of the engine, which whoever looks at every byte has to pay."""

from __future__ import annotations

import hashlib
import math
import random
import tempfile
from dataclasses import replace
from pathlib import Path

from gps_denied_inference.cli.benchmarks.measurement import (
    BenchPlan,
    Comparison,
    Contender,
    PartReport,
    Role,
    Row,
    in_turn,
)
from gps_denied_inference.core.contracts import PrecisionMode, RuntimeLabel
from gps_denied_inference.core.engines import EngineFileName, EngineGate, EngineStore, ManifestEntry, probe_host
from gps_denied_inference.core.engines.store import GOLDEN_SUFFIX

__all__ = ["measure"]

_LARGE_BYTES = 256 * 1024**2
_SMALL_BYTES = 1024
_MOST_REPETITIONS = 20
"""Of 256 MiB, a third of a second each."""
_NAME = EngineFileName("gate_bench", RuntimeLabel.ONNX_TRT_EP, (), "any", "onnx", PrecisionMode.FP32, "0" * 12, ".onnx")
_DETAILS = ManifestEntry(
    file_name="",
    sha256="",
    size_bytes=0,
    model=_NAME.model,
    runtime=_NAME.runtime,
    precision=_NAME.precision,
    weights_sha256="0" * 64,
    preprocess_sha256="0" * 64,
)


def measure(plan: BenchPlan) -> PartReport:
    """Milliseconds of a verdict, the files in the page cache."""
    plan.output.mkdir(parents=True, exist_ok=True)
    few = replace(plan, repetitions=min(plan.repetitions, _MOST_REPETITIONS), warm_up=min(plan.warm_up, 2))
    with tempfile.TemporaryDirectory(prefix="gate-", dir=plan.output) as folder:
        large = _compare(Path(folder) / "large", _LARGE_BYTES, few, target=1.05)
        small = _compare(Path(folder) / "small", _SMALL_BYTES, plan, aim="aim ≤ 5 ms beside the hash")
    return PartReport(
        "j",
        "gate",
        "an engine through the gate",
        (large, small),
        ("the limit is what OpenSSL's SHA-256 makes of one core: the processor decides it",),
    )


def _compare(folder: Path, size_bytes: int, plan: BenchPlan, *, target: float = math.nan, aim: str = "") -> Comparison:
    store = EngineStore(folder)
    content = random.Random(0).randbytes(min(size_bytes, 1024**2)) * max(1, size_bytes // 1024**2)
    path = store.path_of(store.add(content, name=_NAME, details=_DETAILS, artefacts={GOLDEN_SUFFIX: b"golden"}))
    gate = EngineGate(store, probe_host())
    gate.validate(path).require()

    def bare() -> object:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def whole_in_memory() -> object:
        return hashlib.sha256(path.read_bytes()).hexdigest()

    rows = in_turn(
        (
            Contender(Role.LIMIT, "hashlib.file_digest of the same file", bare),
            Contender(Role.OURS, "EngineGate.validate", lambda: gate.validate(path)),
            Contender(Role.BASELINE, "read into memory, then hashed", whole_in_memory),
        ),
        plan,
    )
    size = f"{size_bytes // 1024**2} MiB" if size_bytes >= 1024**2 else f"{size_bytes} bytes"
    return Comparison(f"engine of {size}", "ms", tuple(_with_rate(row, size_bytes) for row in rows), target, aim)


def _with_rate(row: Row, size_bytes: int) -> Row:
    return replace(row, facts={"gb_per_s": round(size_bytes / row.median / 1e6, 3)})
