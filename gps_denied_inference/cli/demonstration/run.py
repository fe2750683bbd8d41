"""All steps of the demo, in order."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gps_denied_inference.cli.console import note, progress
from gps_denied_inference.cli.demonstration.embedding import (
    DescribedMap,
    EmbeddingTask,
    describe_map,
    write_random_checkpoint,
)
from gps_denied_inference.cli.demonstration.evaluate import evaluate
from gps_denied_inference.cli.demonstration.flight_bag import read_ground_truth, write_flight_bag
from gps_denied_inference.cli.demonstration.heat import run_heat_episode
from gps_denied_inference.cli.demonstration.live import require_ros, run_live
from gps_denied_inference.cli.demonstration.localization import LOCAL_MODEL, local_settings, plan_localization
from gps_denied_inference.cli.demonstration.measurement import read_recording
from gps_denied_inference.cli.demonstration.plan import DemoPlan
from gps_denied_inference.cli.demonstration.runtimes import BASELINE, PRODUCTION, build_engines, compare_runtimes
from gps_denied_inference.cli.replay_report import write_json
from gps_denied_inference.core.contracts import PrecisionMode, RuntimeLabel
from gps_denied_inference.core.engines.build import STAGES
from gps_denied_inference.core.errors import ReplayError
from gps_denied_inference.core.evaluation import FlightReport, html_report, json_report
from gps_denied_inference.core.flight import load_orthophoto, locate_orthophoto
from gps_denied_inference.core.index import (
    TileFeatures,
    TileIndex,
    load_tile_features,
    load_tile_index,
    save_tile_features,
    save_tile_index,
)
from gps_denied_inference.core.settings import settings_from_mapping

__all__ = ["run_demo"]

_MODEL = "efficientnet_lite0_grid"
_RANDOM_SEED = 0
_MADE_HERE = (
    "flight_bag",
    "output_bag",
    "random_weights",
    "engines",
    "map.index",
    "map.index.local",
    "heat",
    "log",
    "report.html",
    "report.json",
)


def run_demo(output: Path, plan: DemoPlan) -> FlightReport:
    """Fly, describe the map, replay over DDS to the nodes that make positions of images, and report.

    Args:
        output: folder for everything that is made; what an earlier run made there is removed first.
        plan: sizes and bounds.

    Raises:
        GpsDeniedInferenceError: a step failed; says which and what to do.
    """
    executable = require_ros()
    orthophoto_path = locate_orthophoto()
    _clear(output)
    flight_bag, output_bag, log_folder = output / "flight_bag", output / "output_bag", output / "log"
    log_folder.mkdir()

    orthophoto = load_orthophoto(orthophoto_path)
    grid = plan.tiles(orthophoto)
    with progress("1/7 flying over the orthophoto", plan.flight.frames) as show:
        write_flight_bag(flight_bag, orthophoto, plan.flight, show)

    engines = output / "engines"
    jobs = [
        *((_MODEL, runtime) for runtime in (PRODUCTION, BASELINE)),
        *((model, PRODUCTION) for model in dict.fromkeys((*plan.heat.models, LOCAL_MODEL))),
    ]
    with progress("2/7 preparing engines", len(jobs) * len(STAGES)) as show:
        build_engines(engines, jobs, show)
    gated = {"engine_store": str(engines), "allow_cpu_fallback": True, **_engine(PRODUCTION)}
    baseline = {**gated, **_engine(BASELINE)}
    # One core a process: see describe_map.
    tiles = settings_from_mapping({**gated, "primary.intra_op_threads": 1})
    random_weights = output / "random_weights" / f"{_MODEL}.pt"
    random_weights.parent.mkdir()
    write_random_checkpoint(random_weights, _MODEL, _RANDOM_SEED)
    tasks = [
        EmbeddingTask(tiles, None),
        EmbeddingTask(settings_from_mapping(_untrained(random_weights)), flight_bag),
    ]
    local = local_settings(engines, plan.tile_keypoints)
    images = 3 * len(grid.views) + plan.flight.frames
    label = f"3/7 describing {grid.positions} tiles at {grid.headings} headings, by three networks"
    with progress(label, images) as show:
        described = describe_map(tasks, local, orthophoto_path, grid, show)
    index, features = _save_map(output / "map.index", described)

    localization = plan_localization(
        output / "map.index",
        output / "map.index.local",
        candidates=plan.candidates,
        keypoints=plan.frame_keypoints,
    )
    with progress("4/7 replaying to the nodes over DDS", plan.flight.frames) as show:
        parameters = {**_as_parameters(gated), **localization.first_node}
        live = run_live(executable, parameters, flight_bag, output_bag, log_folder, show, localization=localization)

    with progress("5/7 comparing two runtimes", plan.flight.frames) as show:
        agreement = compare_runtimes(settings_from_mapping(gated), settings_from_mapping(baseline), flight_bag, show)

    with progress("6/7 a heat episode, with a degradation ladder", plan.flight.frames) as show:
        heat = run_heat_episode(plan.heat, executable, engines, flight_bag, output / "heat", show)

    note("7/7 retrieving positions and writing the report")
    truth, recording = read_ground_truth(flight_bag), read_recording(output_bag)
    report = evaluate(
        plan,
        grid,
        orthophoto,
        flight_bag,
        truth,
        (index, features),
        described.embeddings[1],
        agreement,
        live,
        localization,
        recording,
        heat,
    )
    write_json(output / "report.json", json_report(report))
    try:
        (output / "report.html").write_text(html_report(report), encoding="utf-8")
    except OSError as error:
        raise ReplayError(f"cannot write the report into {output}: {error.strerror}") from error
    return report


def _save_map(path: Path, described: DescribedMap) -> tuple[TileIndex, TileFeatures]:
    """Write the files that the nodes load, and load them as they do."""
    sha256 = save_tile_index(described.embeddings[0].index, path)
    local_path = path.with_name(path.name + ".local")
    save_tile_features(replace(described.features, index_sha256=sha256), local_path)
    return load_tile_index(path), load_tile_features(local_path, sha256)


def _engine(runtime: RuntimeLabel) -> dict[str, str]:
    return {"primary.model": _MODEL, "primary.runtime": runtime.value, "primary.precision": PrecisionMode.FP32.value}


def _untrained(checkpoint: Path) -> dict[str, object]:
    """Settings of the network that has learned nothing: a bare checkpoint, which no gate knows."""
    return {
        "allow_cpu_fallback": True,
        "allow_ungated": True,
        **_engine(BASELINE),
        "primary.checkpoint": str(checkpoint),
    }


def _as_parameters(settings: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in settings.items()}


def _clear(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name in _MADE_HERE:
            path = output / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise ReplayError(f"cannot prepare the folder {output}: {error.strerror}; give another --output") from error
