"""`gdi preflight`: are these engines, on this computer, now, fit to fly?"""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from gps_denied_inference.cli.checks import Check, Level, show_checks
from gps_denied_inference.cli.parameter_file import settings_in_parameter_file
from gps_denied_inference.cli.preflight_checks import (
    check_clock,
    check_index,
    check_ladder,
    check_thermal,
)
from gps_denied_inference.cli.preflight_engine import EnginePreflight, preflight_engine
from gps_denied_inference.core.architectures import default_registry
from gps_denied_inference.core.assembly import assemble_pipeline
from gps_denied_inference.core.contracts import ThermalState
from gps_denied_inference.core.engines import MemoryBudget
from gps_denied_inference.core.engines.manifest import ManifestEntry
from gps_denied_inference.core.engines.store import EngineStore
from gps_denied_inference.core.errors import EngineManifestError, SettingsError, TelemetryUnavailableError
from gps_denied_inference.core.governor import LoadedLadder, read_ladder
from gps_denied_inference.core.pipeline import Pipeline
from gps_denied_inference.core.settings import EngineSettings, Settings, settings_from_mapping
from gps_denied_inference.core.thermal import create_source

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "preflight",
        help="check engines and this computer before a flight",
        description="Loads every engine of the parameter file as the node would, side by side: gate, fidelity, then "
        "its latency when warm, memory, the engines of a degradation ladder, the map's index, clock and thermal state. "
        "Ends with status 1 when one of them fails.",
    )
    parser.add_argument("--store", type=Path, help="engine store; default: engine_store of --params")
    parser.add_argument("--params", type=Path, metavar="FILE", help="ROS parameter file of the node; options win")
    parser.add_argument("--engine", metavar="FILE", help="name of the engine file; default: the newest that fits")
    parser.add_argument(
        "--index", type=Path, metavar="FILE", help="the map's tile index, which 'gdi index build' wrote"
    )
    parser.add_argument("--ladder", type=Path, metavar="FILE", help="degradation ladder: its engines are loaded, too")
    parser.add_argument(
        "--allow-other-space", action="store_true", help="the ladder's engines may live in another space"
    )
    parser.add_argument("--budget-ms", type=float, default=400.0, help="bound of the p99 latency (default 400)")
    parser.add_argument("--frames", type=_frames, default=100, help="frames to time (default 100)")
    parser.add_argument("--require-signature", action="store_true", default=None, help="refuse an unsigned store")
    parser.add_argument("--trusted-key", type=Path, action="append", metavar="PEM", help="public key; may be repeated")
    parser.add_argument(
        "--accept-license", action="append", metavar="NAME", help="restricted licence of weights to accept"
    )
    parser.add_argument("--allow-cpu-fallback", action="store_true", default=None, help="desk use: warn, don't fail")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    group = parser.add_argument_group("first engine (default: as --params says, else as the node's defaults)")
    for name in ("model", "runtime", "precision", "device"):
        group.add_argument(f"--{name}")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check. Returns 1 when anything fails."""
    settings = _settings(options)
    checks, facts = _checks(settings, options)
    show_checks(checks, as_json=options.json, facts=facts)
    return 1 if any(check.level is Level.FAIL for check in checks) else 0


def _settings(options: argparse.Namespace) -> Settings:
    values = settings_in_parameter_file(options.params) if options.params is not None else {}
    names = values.get("engines", ["primary"])
    engine = str(names[0]) if isinstance(names, list) and names else "primary"
    given = {
        "engine_store": options.store,
        "require_signature": options.require_signature,
        "trusted_keys": options.trusted_key and [str(path) for path in options.trusted_key],
        "allow_cpu_fallback": options.allow_cpu_fallback,
        "accepted_licenses": options.accept_license,
        f"{engine}.engine_file": options.engine,
        f"{engine}.model": options.model,
        f"{engine}.runtime": options.runtime,
        f"{engine}.precision": options.precision,
        f"{engine}.device": options.device,
    }
    values |= {
        name: str(value) if isinstance(value, Path) else value for name, value in given.items() if value is not None
    }
    settings = settings_from_mapping(values)
    if settings.engine_store is None:
        raise SettingsError(
            "engine_store", "", "the folder of an engine store: give --store, or --params that names it"
        )
    return settings


def _checks(settings: Settings, options: argparse.Namespace) -> tuple[list[Check], dict[str, Any]]:
    wall_s, steady_s = time.time(), time.monotonic()
    thermal = check_thermal(lambda: _read_thermal(settings))
    registry = default_registry()
    registry.load_modules(settings.architecture_modules)
    memory_budget = MemoryBudget(settings.gpu_memory_budget_bytes)
    entries = _manifest_entries(settings)
    with ExitStack() as loaded:
        found = [
            preflight_engine(
                settings,
                engine,
                entries,
                registry=registry,
                memory_budget=memory_budget,
                loaded=loaded,
                frames=options.frames,
                budget_ms=options.budget_ms,
            )
            for engine in settings.engines
        ]
        checks = [
            check if len(found) == 1 else replace(check, name=f"{item.engine.name} {check.name}")
            for item in found
            for check in item.checks
        ]
        top = next((item for item in found if item.pipeline is not None), None)
        if options.ladder is not None and top is not None:
            checks.append(_check_ladder(options, settings, top, memory_budget))
    if options.index is not None:
        checks.append(check_index(options.index, top.model if top is not None else None))
    # Of engines that were refused nothing is known: the clock is held against the newest of the store.
    built_at = max((item.built_at for item in found), default="") or max(
        (entry.built_at for entry in entries.values()), default=""
    )
    checks.append(check_clock(built_at, time.time(), time.time() - wall_s, time.monotonic() - steady_s))
    checks.append(thermal)
    return checks, {**found[0].facts, "engines": [item.facts for item in found]}


def _check_ladder(
    options: argparse.Namespace, settings: Settings, top: EnginePreflight, memory_budget: MemoryBudget
) -> Check:
    engine, pipeline = top.engine, top.pipeline
    assert pipeline is not None

    def load(changed: EngineSettings) -> Pipeline:
        engines = tuple(changed if item is engine else item for item in settings.engines)
        return assemble_pipeline(replace(settings, engines=engines), engine.name, memory_budget=memory_budget)

    return check_ladder(
        lambda: LoadedLadder(
            read_ladder(options.ladder), engine, pipeline, load, allow_other_space=options.allow_other_space
        ),
        options.frames,
        options.budget_ms,
    )


def _manifest_entries(settings: Settings) -> dict[str, ManifestEntry]:
    assert settings.engine_store is not None
    try:
        return {entry.file_name: entry for entry in EngineStore(settings.engine_store).manifest().entries}
    except EngineManifestError:
        return {}  # what is wrong with it is told where an engine is looked for


def _read_thermal(settings: Settings) -> ThermalState:
    choice = create_source(settings.thermal_sources, timeline=settings.thermal_timeline)
    if choice.source is None:
        return ThermalState(cause=choice.reason)
    try:
        return choice.source.read()
    except TelemetryUnavailableError as error:
        return ThermalState(cause=str(error))
    finally:
        choice.source.close()


def _frames(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 100_000:
        raise argparse.ArgumentTypeError(f"{text} is not 1 to 100000")
    return value
