"""A health report in which no two numbers and no two texts are the same, and what its message must say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from model_identities import model_identity

from gps_denied_inference.core.contracts import DropReason, EffectiveConfiguration, PrecisionMode
from gps_denied_inference.core.engines import FidelityReport
from gps_denied_inference.core.governor import LadderState
from gps_denied_inference.core.health import InputAnomaly, InputPace, InputReading, MemoryReading
from gps_denied_inference.core.interface import EngineHealthReport
from gps_denied_inference.core.pipeline import FrameCounts, LatencySummary

__all__ = ["EXPECTED", "MODEL", "REPORT", "plain_fields"]

_STAGES = ("wait_ms", "decode_ms", "preprocess_ms", "infer_ms", "postprocess_ms")
_NESTED = {"StageTimings": (*_STAGES, "total_ms"), "DropCount": ("reason", "count")}

MODEL = replace(
    model_identity("xfeat"),
    configuration=EffectiveConfiguration(
        PrecisionMode.FP16, PrecisionMode.FP32, "cuda:1", "cpu", "TheProvider", "no GPU", "TheWantedProvider"
    ),
    is_gated=False,
    engine_file="xfeat__engine.onnx",
    engine_sha256="ef" * 32,
    gate_complaint="no signature",
    fidelity=FidelityReport("descriptor cosine", 0.25, 0.5, 0.75, 501),
)

REPORT = EngineHealthReport(
    level=2,
    message="broken",
    lifecycle_state="active",
    counts=FrameCounts(1000, 600, dict(zip(DropReason, range(11, 11 + len(DropReason)), strict=True)), 4),
    latency=LatencySummary(
        502,
        21.0,
        22.0,
        23.0,
        24.0,
        25.0,
        {stage: (100.0 + n, 200.0 + n, 300.0 + n, 400.0 + n) for n, stage in enumerate(_STAGES)},
    ),
    last_error="boom",
    ladder=LadderState(5, 7, "half", "max_rate_hz 5", "full", "heat", 9),
    engine_reloads=3,
    requested_runtime="tensorrt",
    engine_changes=("12:00:00 UTC: refused", "12:01:00 UTC: taken"),
    camera=InputReading(
        topic="/ns/image",
        received=503,
        seconds_since_last=30.5,
        stamp_age_ms=504.0,
        encoding="rgb8",
        size="640x480",
        time_jumps=505,
        qos_incompatibility="policy RELIABILITY, 1 times",
        publisher_count=506,
        pace=InputPace(
            31.5,
            32.5,
            dict.fromkeys(InputAnomaly, 0),
            {
                InputAnomaly.SIZE_CHANGED: 33,
                InputAnomaly.ENCODING_CHANGED: 34,
                InputAnomaly.STAMP_BACKWARD: 35,
                InputAnomaly.STAMP_IN_FUTURE: 36,
            },
        ),
    ),
    output_qos_incompatibility="policy DURABILITY, 2 times",
    memory=MemoryReading(41, 42, 43, 0.125, 44.5, 507.0),
)


EXPECTED: dict[str, object] = {
    "level": 2,
    "message": "broken",
    "lifecycle_state": "active",
    "engine": "primary",
    "model": "xfeat",
    "engine_file": "xfeat__engine.onnx",
    "engine_sha256": "ef" * 32,
    "space_id": MODEL.space_id,
    "requested_runtime": "tensorrt",
    "runtime": "fake",
    "requested_precision": "fp16",
    "effective_precision": "fp32",
    "requested_device": "cuda:1",
    "effective_device": "cpu",
    "requested_provider": "TheWantedProvider",
    "provider": "TheProvider",
    "fallback_reason": "no GPU",
    "is_gated": False,
    "gate_complaint": "no signature",
    "fidelity_count": 501,
    "fidelity_min_cosine": 0.25,
    "fidelity_mean_cosine": 0.5,
    "fidelity_repeatability": 0.75,
    "engine_changes": ["12:00:00 UTC: refused", "12:01:00 UTC: taken"],
    "received": 1000,
    "published": 600,
    "pending": 4,
    "dropped": [{"reason": reason.value, "count": count} for count, reason in enumerate(DropReason, start=11)],
    "rate_hz": 21.0,
    "latency_p50_ms": 22.0,
    "latency_p95_ms": 23.0,
    "latency_p99_ms": 24.0,
    "rung": 5,
    "rung_count": 7,
    "rung_name": "half",
    "rung_reason": "heat",
    "rung_steps": 9,
    "last_error": "boom",
    "engine_reloads": 3,
    "latency_max_ms": 25.0,
    **{
        name: {**{stage: first + n for n, stage in enumerate(_STAGES)}, "total_ms": total_ms}
        for name, first, total_ms in (
            ("stages_p50", 100.0, 22.0),
            ("stages_p95", 200.0, 23.0),
            ("stages_p99", 300.0, 24.0),
            ("stages_max", 400.0, 25.0),
        )
    },
    "input_rate_hz": 31.5,
    "input_jitter_ms": 32.5,
    "input_seconds_since_last": 30.5,
    "input_encoding": "rgb8",
    "input_size": "640x480",
    "input_size_changes": 33,
    "input_encoding_changes": 34,
    "input_stamps_backward": 35,
    "input_stamps_in_future": 36,
    "input_qos_incompatibility": "policy RELIABILITY, 1 times",
    "output_qos_incompatibility": "policy DURABILITY, 2 times",
    "resident_bytes": 41,
    "gpu_reserved_bytes": 42,
    "gpu_used_bytes": 43,
    "memory_used_share": 0.125,
    "memory_slope_mib_per_h": 44.5,
}
"""Every field but the header, in the order of the definition; all exact in 32 bits."""


def plain_fields(message: Any, names: Sequence[str]) -> dict[str, object]:
    """Return fields of a message of any implementation as plain values."""
    return {name: _plain(getattr(message, name)) for name in names if name != "header"}


def _plain(value: Any) -> object:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    for kind, names in _NESTED.items():
        if type(value).__name__.endswith(kind):
            return {name: getattr(value, name) for name in names}
    return value
