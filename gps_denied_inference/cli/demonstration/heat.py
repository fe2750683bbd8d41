"""A heat episode: the same flight to a second node, whose scripted thermal source throttles for a while."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gps_denied_inference.cli.demonstration.live import LiveRun, run_live
from gps_denied_inference.cli.demonstration.measurement import health_sample
from gps_denied_inference.cli.demonstration.runtimes import PRODUCTION
from gps_denied_inference.core.architectures import sized_name
from gps_denied_inference.core.contracts import PrecisionMode
from gps_denied_inference.core.errors import ReplayError
from gps_denied_inference.core.evaluation import (
    HeatEpisode,
    HeatFrame,
    ReplayAccounting,
    RungSample,
    ThermalSample,
)
from gps_denied_inference.core.governor import Ladder, read_ladder
from gps_denied_inference.core.interface import stamp_ns_from_message, thermal_state_from_message
from gps_denied_inference.core.replay import BagReader

__all__ = ["HeatPlan", "run_heat_episode"]


@dataclass(frozen=True, slots=True)
class HeatPlan:
    """How the episode goes.

    Attributes:
        model: that flies, of local features.
        rate: pace of the flight; 1.0 is that of its recording.
        hot_s: when the throttling begins and ends, seconds after the node was configured.
        dwell_s, stable_s: of the ladder.
        smaller_input: height and width of the rung with smaller images, pixels; None leaves that rung out.
        judges_steps: the ladder must have been gone down to its end and up again.
    """

    model: str = "xfeat"
    rate: float = 1.0
    hot_s: tuple[float, float] = (10.0, 18.0)
    dwell_s: float = 1.5
    stable_s: float = 2.0
    smaller_input: tuple[int, int] | None = (288, 384)
    judges_steps: bool = True

    @property
    def models(self) -> tuple[str, ...]:
        """Networks whose engines the ladder needs."""
        smaller = self.smaller_input
        return (self.model,) if smaller is None else (self.model, sized_name(self.model, *smaller))

    def rungs(self) -> list[dict[str, Any]]:
        """Return the ladder as its file has it."""
        fewer: dict[str, Any] = {"top_k": 512}
        found: list[dict[str, Any]] = [{"name": "full"}, {"name": "fewer keypoints", **fewer}]
        if self.smaller_input is not None:
            height, width = self.smaller_input
            fewer |= {"input_height": height, "input_width": width}
            found.append({"name": "smaller images", **fewer})
        return [*found, {"name": "half the rate", **fewer, "max_rate_hz": 5.0}]


def run_heat_episode(
    plan: HeatPlan, executable: Path, store: Path, flight_bag: Path, folder: Path, show: Callable[[int], None]
) -> HeatEpisode:
    """Replay the flight to a node that has a ladder and gets hot.

    Args:
        executable: of the node.
        store: with engines of the plan's models.
        folder: for everything that is made; must not exist.
        show: called with the number of images sent so far.

    Raises:
        ReplayError: the node did not come up or answer in time, or published nothing.
    """
    folder.mkdir(parents=True)
    ladder_path, timeline_path = folder / "degradation_ladder.yaml", folder / "thermal_timeline.yaml"
    ladder_path.write_text(yaml.safe_dump({"rungs": plan.rungs()}, sort_keys=False), encoding="utf-8")
    timeline_path.write_text(yaml.safe_dump(_timeline(plan)), encoding="utf-8")
    parameters = {
        "engine_store": str(store),
        "primary.model": plan.model,
        "primary.runtime": PRODUCTION.value,
        "primary.precision": PrecisionMode.FP32.value,
        "primary.device": "cpu",
        "thermal_sources": "['scripted']",
        "thermal_timeline": str(timeline_path),
        "thermal_poll_hz": "5.0",
        "diagnostics_rate_hz": "10.0",
        "primary.degradation_ladder": str(ladder_path),
        "degradation_allow_other_space": "true",
        "degradation_dwell_s": str(plan.dwell_s),
        "degradation_stable_s": str(plan.stable_s),
        # Heat alone moves the ladder: on a slow computer missed deadlines would, too.
        "degradation_miss_ratio": "1.0",
        "degradation_memory_share": "1.0",
    }
    run = run_live(executable, parameters, flight_bag, folder / "output_bag", folder, show, rate=plan.rate)
    return _episode(plan.model, read_ladder(ladder_path), folder / "output_bag", run)


def _timeline(plan: HeatPlan) -> Mapping[str, object]:
    start_s, end_s = plan.hot_s
    rise_s = start_s / 2
    temperatures = ((0.0, 62.0, 60.0), (rise_s, 68.0, 67.0), (start_s, 97.0, 99.0))
    steps: list[dict[str, object]] = [
        {"at_s": at_s, "cpu_temperature_c": cpu, "gpu_temperature_c": gpu, "clock_mhz": 1020.0}
        for at_s, cpu, gpu in temperatures
    ]
    steps[-1] |= {"throttle": True, "cause": "scripted: thermal limit of the GPU", "clock_mhz": 612.0}
    steps.append({"at_s": end_s, "cpu_temperature_c": 88.0, "gpu_temperature_c": 89.0, "clock_mhz": 1020.0})
    steps.append({"at_s": end_s + 8.0, "cpu_temperature_c": 64.0, "gpu_temperature_c": 63.0, "clock_mhz": 1020.0})
    return {"steps": steps}


def _episode(model: str, ladder: Ladder, bag: Path, run: LiveRun) -> HeatEpisode:
    with BagReader(bag) as reader:
        recorded = {
            name: [(ns, reader.decode(cdr, kind)) for ns, kind, cdr in reader.messages(f"/{name}")]
            for name in ("local_features", "engine_health", "thermal_state")
        }
    features = recorded["local_features"]
    if not features:
        raise ReplayError(f"{bag} holds no local features: the node of the heat episode published nothing")
    start_ns = features[0][0]
    counts = run.counts
    return HeatEpisode(
        model=model,
        rungs=tuple((rung.name, rung.summary()) for rung in ladder.rungs),
        frames=tuple(
            HeatFrame(
                (ns - start_ns) / 1e9,
                float(message.timings.total_ms),
                float(message.timings.infer_ms),
                int(message.count),
                str(message.space_id),
            )
            for ns, message in features
        ),
        ladder=tuple(
            RungSample((ns - start_ns) / 1e9, int(message.rung), str(message.rung_reason))
            for ns, message in recorded["engine_health"]
        ),
        health=tuple(health_sample((ns - start_ns) / 1e9, message) for ns, message in recorded["engine_health"]),
        thermal=tuple(
            ThermalSample((ns - start_ns) / 1e9, thermal_state_from_message(message))
            for ns, message in recorded["thermal_state"]
        ),
        accounting=ReplayAccounting(
            frames_in=run.frames_in,
            frames_received=counts.received,
            frames_published=counts.published,
            frames_dropped={reason.value: count for reason, count in counts.dropped.items()},
            frames_pending=counts.pending,
            messages_recorded=len({stamp_ns_from_message(message) for _, message in features}),
        ),
        exit_status=run.exit_status,
    )
