"""Loads this computer's GPU and watches it through NVML: `python -m test.gpu.record_thermal FILE.md` writes a trace."""

from __future__ import annotations

import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import torch

from gps_denied_inference.core.contracts import ThermalState
from gps_denied_inference.core.thermal import ThermalStatePublisher
from gps_denied_inference.core.thermal.nvml import NvmlSource
from test.gpu.record import machine

IDLE_S = 10.0
LOAD_S = 40.0
REST_S = 15.0
POLL_HZ = 2.0
SAMPLE_S = 0.1
ROW_S = 2.5


def load_gpu(stop: threading.Event) -> None:
    """Multiply large half-precision matrices until told to stop: near the board's power limit."""
    a = torch.randn(16384, 16384, device="cuda", dtype=torch.float16)
    while not stop.is_set():
        for _ in range(4):
            a @ a
        torch.cuda.synchronize()


def main(path: Path) -> None:
    """Record idle, load and rest."""
    flips: list[tuple[float, ThermalState]] = []
    start = time.monotonic()
    publisher = ThermalStatePublisher(
        NvmlSource(), POLL_HZ, on_flip=lambda state: flips.append((time.monotonic() - start, state))
    )
    rows: list[tuple[float, str, ThermalState]] = []
    direct = NvmlSource()
    first_throttle_s: float | None = None
    stop = threading.Event()
    loader = threading.Thread(target=load_gpu, args=(stop,))
    publisher.start()
    phase = "idle"
    while (now := time.monotonic() - start) < IDLE_S + LOAD_S + REST_S:
        if phase == "idle" and now >= IDLE_S:
            phase = "load"
            loader.start()
        elif phase == "load" and now >= IDLE_S + LOAD_S:
            phase = "rest"
            stop.set()
        if first_throttle_s is None and direct.read().thermal_throttle_active:
            first_throttle_s = time.monotonic() - start
        if not rows or now - rows[-1][0] >= ROW_S:
            rows.append((now, phase, publisher.snapshot()))
        time.sleep(SAMPLE_S)
    loader.join()
    publisher.close()
    described = machine()
    lines = [
        f"# Thermal state through NVML, {datetime.now(UTC):%Y-%m-%d}",
        "",
        f"Machine: {described['gpu']}, driver {described['driver']}, torch {described['torch']}. "
        f"`python -m test.gpu.record_thermal FILE`: {IDLE_S:g} s idle, {LOAD_S:g} s of FP16 matrix products, "
        f"{REST_S:g} s rest; `ThermalStatePublisher` at {POLL_HZ:g} Hz.",
        "",
        "| time, s | phase | GPU, °C | SM clock, MHz | throttling | cause |",
        "|---|---|---|---|---|---|",
    ]
    for now, phase, state in rows:
        lines.append(
            f"| {now:.1f} | {phase} | {state.gpu_temperature_c:.0f} | {state.measured_clock_mhz:.0f} | "
            f"{'yes' if state.thermal_throttle_active else 'no'} | {state.cause} |"
        )
    lines += ["", "Changes as the publisher reported them:", ""]
    for now, state in flips:
        lines.append(f"- {now:.2f} s: throttling {state.thermal_throttle_active}, {state.cause or 'no cause'}")
    entry = next((now for now, state in flips if state.thermal_throttle_active), None)
    if entry is not None and first_throttle_s is not None:
        lines += [
            "",
            f"First seen throttling by reading NVML every {SAMPLE_S:g} s: {first_throttle_s:.2f} s; reported by the "
            f"publisher {entry - first_throttle_s:+.2f} s from then (promised: at most 1 / {POLL_HZ:g} Hz + 0.3 s = "
            f"{1 / POLL_HZ + 0.3:.1f} s).",
        ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
