"""What `gdi preflight` looks at, each in a line of ok, warn or fail."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from gps_denied_inference.cli.checks import Check, Level
from gps_denied_inference.core.contracts import ImageFrame, LocalFeatures, OutputKind, ThermalState
from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.evaluation import percentiles
from gps_denied_inference.core.health import fidelity_summary
from gps_denied_inference.core.index import load_tile_index
from gps_denied_inference.core.optional import require
from gps_denied_inference.core.pipeline import MatchingPipeline, ModelIdentity, Pipeline

__all__ = [
    "check_clock",
    "check_fidelity",
    "check_gate",
    "check_index",
    "check_latency",
    "check_memory",
    "check_placement",
    "check_thermal",
    "free_memory_bytes",
    "measure_latency",
    "measure_matching_latency",
]

_FRAME_HEIGHT, _FRAME_WIDTH = 1080, 1920
_UNTIMED_FRAMES = 3
_LEAST_FREE_BYTES = 256 * 1024**2
_MOST_CLOCK_DRIFT_S = 0.1


def check_gate(model: ModelIdentity) -> Check:
    """Only an engine that passed the gate may fly."""
    if model.is_gated:
        return Check("gate", Level.OK, f"{model.engine_file} passed")
    return Check("gate", Level.FAIL, f"not for flight: {model.gate_complaint or 'a bare checkpoint (allow_ungated)'}")


def check_fidelity(model: ModelIdentity) -> Check:
    """Whether outputs were compared with the reference; a value that is too low does not come this far."""
    report = model.fidelity
    if report is None:
        return Check("fidelity", Level.FAIL, "nothing was measured: the engine has no golden set; build it again")
    return Check("fidelity", Level.OK, fidelity_summary(report))


def check_placement(model: ModelIdentity) -> Check:
    """What runs, against what was asked for."""
    configuration = model.configuration
    text = (
        f"{model.runtime_label.value}, {configuration.effective_precision.value} on "
        f"{configuration.effective_device}, {configuration.provider}"
    )
    if configuration.fallback_reason:
        return Check("placement", Level.WARN, f"{text}; fallback: {configuration.fallback_reason}")
    return Check("placement", Level.OK, text)


def measure_latency(pipeline: Pipeline, frames: int) -> list[float]:
    """Take a 1080p colour frame of noise through the whole pipeline; milliseconds of each, the first ones left out."""
    frame = _noise_frame(np.random.default_rng(0))
    latencies = [pipeline.process(frame).timings.total_ms for _ in range(_UNTIMED_FRAMES + frames)]
    return latencies[_UNTIMED_FRAMES:]


def measure_matching_latency(matcher: MatchingPipeline, pairs: int) -> list[float]:
    """Match two 1080p frames of noise, or features of such; milliseconds of each pair, the first ones left out."""
    spec = matcher.model.spec
    generator = np.random.default_rng(0)
    if spec.output_kind is OutputKind.CORRESPONDENCES:
        first, second = (_noise_frame(generator) for _ in range(2))

        def match() -> object:
            return matcher.match_images(first, second)
    else:
        one, other = (_noise_features(generator, spec.max_keypoints, spec.descriptor_dimension) for _ in range(2))

        def match() -> object:
            return matcher.match_features(one, other)

    latencies = []
    for _ in range(_UNTIMED_FRAMES + pairs):
        start_ns = time.perf_counter_ns()
        match()
        latencies.append((time.perf_counter_ns() - start_ns) / 1e6)
    return latencies[_UNTIMED_FRAMES:]


def _noise_frame(generator: np.random.Generator) -> ImageFrame:
    data = generator.integers(0, 256, (_FRAME_HEIGHT, _FRAME_WIDTH, 3), dtype=np.uint8).reshape(-1)
    return ImageFrame(0, "preflight", "rgb8", _FRAME_HEIGHT, _FRAME_WIDTH, _FRAME_WIDTH * 3, False, data)


def _noise_features(generator: np.random.Generator, count: int, dimension: int) -> LocalFeatures:
    descriptors = generator.normal(size=(count, dimension)).astype(np.float32)
    return LocalFeatures(
        generator.uniform(0, (_FRAME_WIDTH - 1, _FRAME_HEIGHT - 1), (count, 2)).astype(np.float32),
        np.linspace(1.0, 0.1, count, dtype=np.float32),
        descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True),
        _FRAME_HEIGHT,
        _FRAME_WIDTH,
    )


def check_latency(latencies_ms: Sequence[float], budget_ms: float, of: str = "1080p frames") -> Check:
    """Compare the 99th percentile with the budget."""
    measured = percentiles(latencies_ms)
    text = f"p50 {measured.p50:.1f} ms, p99 {measured.p99:.1f} ms of {len(latencies_ms)} warm {of}"
    if not measured.p99 <= budget_ms:
        return Check("latency", Level.FAIL, f"{text}; {budget_ms:g} ms are allowed: take a smaller network or a GPU")
    return Check("latency", Level.OK, f"{text}; {budget_ms:g} ms are allowed")


def check_memory(needed_bytes: int, budget_bytes: int, free_bytes: int | None, where: str) -> Check:
    """Compare what the engine needs with the budget, and look at what is free beside it, once it is loaded."""
    text = f"needs {_mib(needed_bytes)} (estimated) of a budget of {_mib(budget_bytes)}"
    if not needed_bytes:
        text = f"its need is unknown; the budget is {_mib(budget_bytes)}"
    if needed_bytes > budget_bytes:
        return Check("memory", Level.FAIL, f"{text}; raise gpu_memory_budget_bytes or take a smaller network")
    if free_bytes is None:
        return Check("memory", Level.WARN, f"{text}; free memory of the {where} is unknown")
    text += f"; {_mib(free_bytes)} are free on the {where} with it loaded"
    if free_bytes < _LEAST_FREE_BYTES:
        return Check("memory", Level.FAIL, f"{text}, less than {_mib(_LEAST_FREE_BYTES)}: end other processes")
    return Check("memory", Level.OK, text)


def free_memory_bytes(device: str) -> int | None:
    """Free memory of the GPU by NVML, of the computer by `/proc/meminfo`; None when unknown.

    A Jetson shares its memory between both, and its NVML does not tell: the computer's is taken.
    """
    if device.startswith("cuda"):
        try:
            nvml = require("pynvml", install="pip install nvidia-ml-py", purpose="the GPU's free memory")
            nvml.nvmlInit()
            try:
                index = int(device.partition(":")[2] or 0)
                return int(nvml.nvmlDeviceGetMemoryInfo(nvml.nvmlDeviceGetHandleByIndex(index)).free)
            finally:
                nvml.nvmlShutdown()
        except Exception:  # NVML's errors share no base with those of a missing library
            pass
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    available = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(available[0]) * 1024 if available else None


def check_index(path: Path, model: ModelIdentity | None) -> Check:
    """Whether the descriptors of a map may be compared with those of the engine.

    Args:
        path: of a tile index, as `gdi index build` writes it.
        model: what the engine runs; None when it could not be loaded.
    """
    try:
        index = load_tile_index(path)
    except InferenceError as error:
        return Check("index", Level.FAIL, str(error))
    found = f"{len(index)} tiles, {index.dimension}-D, space {index.space_id}"
    if model is None:
        return Check("index", Level.WARN, f"{found}; no engine is loaded to compare it with")
    dimension = model.spec.descriptor_dimension
    if index.dimension != dimension:
        return Check("index", Level.FAIL, f"it holds {index.dimension}-D descriptors, the engine makes {dimension}-D")
    if index.space_id != model.space_id:
        return Check(
            "index",
            Level.FAIL,
            f"it lives in space '{index.space_id}', the engine in '{model.space_id}': embed the map again",
        )
    return Check("index", Level.OK, found)


def check_clock(built_at: str, wall_s: float, wall_elapsed_s: float, steady_elapsed_s: float) -> Check:
    """Whether the system clock is believable.

    Args:
        built_at: ISO 8601, of the manifest; empty when unknown.
        wall_s: system time now, seconds since the epoch.
        wall_elapsed_s, steady_elapsed_s: the same stretch of time on the system clock and on the steady one.
    """
    now = datetime.fromtimestamp(wall_s).astimezone().isoformat(timespec="seconds")
    drift_s = wall_elapsed_s - steady_elapsed_s
    if abs(drift_s) > _MOST_CLOCK_DRIFT_S:
        return Check(
            "clock",
            Level.FAIL,
            f"the system clock moved by {drift_s:+.2f} s against the steady one within {steady_elapsed_s:.1f} s; wait "
            "until it is synchronised",
        )
    try:
        built_s = datetime.fromisoformat(built_at).timestamp()
    except ValueError:
        return Check("clock", Level.WARN, f"{now}; the manifest does not say when the engine was built")
    if wall_s < built_s:
        return Check("clock", Level.FAIL, f"{now} is before the engine was built ({built_at}): set the clock")
    return Check("clock", Level.OK, f"{now}, steady, after the engine was built ({built_at})")


def check_thermal(read: Callable[[], ThermalState]) -> Check:
    """Throttling fails; a state that is not known warns."""
    state = read()
    if not state.is_telemetry_available:
        return Check("thermal", Level.WARN, f"unknown: {state.cause or 'no telemetry'}; throttling would go unseen")
    known = [(name, value) for name, value in (("CPU", state.cpu_temperature_c), ("GPU", state.gpu_temperature_c))]
    text = ", ".join(f"{name} {value:.0f} °C" for name, value in known if not math.isnan(value)) or "no temperature"
    if state.thermal_throttle_active:
        return Check("thermal", Level.FAIL, f"throttling ({state.cause or 'cause unknown'}), {text}: let it cool")
    return Check("thermal", Level.OK, f"{text}, not throttling ({state.source})")


def _mib(size: int) -> str:
    return f"{size / 1024**2:.0f} MiB"
