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
from gps_denied_inference.core.architectures import default_registry, sized_name
from gps_denied_inference.core.contracts import PrecisionMode
from gps_denied_inference.core.engines import EngineStore, probe_host
from gps_denied_inference.core.engines.build import STAGES, BuildRequest, build_engine
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

__all__ = ["HeatPlan", "build_heat_engines", "run_heat_episode"]

_MODEL = "xfeat"


@dataclass(frozen=True, slots=True)
class HeatPlan:
    """How the episode goes.

    Attributes:
        rate: pace of the flight; 1.0 is that of its recording.
        hot_s: when the throttling begins and ends, seconds after the node was configured.
        dwell_s, stable_s: of the ladder.
        smaller_input: height and width of the rung with smaller images, pixels; None leaves that rung out.
        judges_steps: the ladder must have been gone down to its end and up again.
    """

    rate: float = 1.0
    hot_s: tuple[float, float] = (10.0, 18.0)
    dwell_s: float = 1.5
    stable_s: float = 2.0
    smaller_input: tuple[int, int] | None = (288, 384)
    judges_steps: bool = True

    @property
    def models(self) -> tuple[str, ...]:
        """Networks whose engines the ladder needs."""
        return (_MODEL,) if self.smaller_input is None else (_MODEL, sized_name(_MODEL, *self.smaller_input))

    @property
    def stages(self) -> int:
        """Steps of `build_heat_engines`."""
        return len(self.models) * len(STAGES)

    def rungs(self) -> list[dict[str, Any]]:
        """Return the ladder as its file has it."""
        fewer: dict[str, Any] = {"top_k": 512}
        found: list[dict[str, Any]] = [{"name": "full"}, {"name": "fewer keypoints", **fewer}]
        if self.smaller_input is not None:
            height, width = self.smaller_input
            fewer |= {"input_height": height, "input_width": width}
            found.append({"name": "smaller images", **fewer})
        return [*found, {"name": "half the rate", **fewer, "max_rate_hz": 5.0}]


def build_heat_engines(plan: HeatPlan, store: Path, show: Callable[[int], None]) -> None:
    """Prepare the engines of the episode's ladder.

    Args:
        store: an engine store.
        show: called with the number of stages done, of `plan.stages`.

    Raises:
        EngineBuildError: the weights or packages are absent, or the export failed.
    """
    registry, engines = default_registry(), EngineStore(store)
    finished = 0

    def follow(stage: str, fraction: float) -> None:
        show(finished + round(STAGES.index(stage) + fraction))

    for model in plan.models:
        request = BuildRequest(model, PRODUCTION, PrecisionMode.FP32)
        build_engine(request, engines, registry=registry, host=probe_host(), on_progress=follow)
        finished += len(STAGES)
        show(finished)


def run_heat_episode(
    plan: HeatPlan, executable: Path, store: Path, flight_bag: Path, folder: Path, show: Callable[[int], None]
) -> HeatEpisode:
    """Replay the flight to a node that has a ladder and gets hot.

    Args:
        executable: of the node.
        store: with the engines of `build_heat_engines`.
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
        "primary.model": _MODEL,
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
    return _episode(read_ladder(ladder_path), folder / "output_bag", run)


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


def _episode(ladder: Ladder, bag: Path, run: LiveRun) -> HeatEpisode:
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
        model=_MODEL,
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
