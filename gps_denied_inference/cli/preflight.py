"""`gdi preflight`: are these engines, on this computer, now, fit to fly?"""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from gps_denied_inference.cli.checks import Check, Level, show_checks
from gps_denied_inference.cli.parameter_file import NodeSection, ParameterFile, read_parameter_file
from gps_denied_inference.cli.preflight_checks import check_clock, check_index, check_thermal
from gps_denied_inference.cli.preflight_node import NodePreflight, preflight_node
from gps_denied_inference.core.architectures import default_registry
from gps_denied_inference.core.contracts import OutputKind, ThermalState
from gps_denied_inference.core.errors import SettingsError, TelemetryUnavailableError
from gps_denied_inference.core.pipeline import ModelIdentity
from gps_denied_inference.core.settings import Settings, settings_from_mapping
from gps_denied_inference.core.thermal import create_source

__all__ = ["add_parser", "run"]

_OF_ONE_ENGINE = ("engine", "model", "runtime", "precision", "device", "ladder")
"""Options that say something of an engine, and so need to know whose."""


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "preflight",
        help="check engines and this computer before a flight",
        description="Loads every engine of the parameter file as its node would, those of all nodes side by side: "
        "gate, fidelity, then its latency when warm, memory, the engines of its degradation ladder, the map's index, "
        "clock and thermal state. Ends with status 1 when one of them fails.",
    )
    parser.add_argument("--store", type=Path, help="engine store; default: engine_store of --params")
    parser.add_argument(
        "--params",
        type=Path,
        metavar="FILE",
        help="ROS parameter file; each node in it that has engines is looked at by its own section; options win",
    )
    parser.add_argument("--node", default="", metavar="NAME", help="look at this node of the parameter file alone")
    parser.add_argument("--engine", metavar="FILE", help="name of the engine file; default: the newest that fits")
    parser.add_argument(
        "--index", type=Path, metavar="FILE", help="the map's tile index, which 'gdi index build' wrote"
    )
    parser.add_argument(
        "--ladder",
        type=Path,
        metavar="FILE",
        help="degradation ladder of the first engine: its engines are loaded, too (default: as --params says)",
    )
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
    file = _parameter_file(options)
    nodes = [(section, _settings(section, options)) for section in file.nodes]
    checks, facts = _checks(nodes, file.left_out, options)
    show_checks(checks, as_json=options.json, facts=facts)
    return 1 if any(check.level is Level.FAIL for check in checks) else 0


def _parameter_file(options: argparse.Namespace) -> ParameterFile:
    if options.params is None:
        if options.node:
            raise SettingsError("node", options.node, "a node of the parameter file that --params names")
        return ParameterFile((NodeSection("/**", {}),))
    file = read_parameter_file(options.params, options.node)
    given = [f"--{name}" for name in _OF_ONE_ENGINE if getattr(options, name) is not None]
    if len(file.nodes) > 1 and given:
        names = ", ".join(section.node for section in file.nodes)
        raise SettingsError("node", "", f"one of {names}: say with --node whose engine {', '.join(given)} is for")
    return file


def _settings(section: NodeSection, options: argparse.Namespace) -> Settings:
    values = dict(section.settings)
    engine = _first_engine(section)
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
        whose = "" if section.node == "/**" else f" under {section.node}"
        raise SettingsError(
            "engine_store", "", f"the folder of an engine store: give --store, or --params that names it{whose}"
        )
    return settings


def _first_engine(section: NodeSection) -> str:
    names = section.settings.get("engines", ["primary"])
    return str(names[0]) if isinstance(names, list) and names else "primary"


def _checks(
    nodes: list[tuple[NodeSection, Settings]], left_out: tuple[str, ...], options: argparse.Namespace
) -> tuple[list[Check], dict[str, Any]]:
    wall_s, steady_s = time.time(), time.monotonic()
    thermal = _thermal_checks(nodes)
    registry = default_registry()
    for _, settings in nodes:
        registry.load_modules(settings.architecture_modules)
    with ExitStack() as loaded:
        found = [
            preflight_node(
                settings,
                {_first_engine(section): options.ladder} if options.ladder is not None else section.ladders,
                registry=registry,
                loaded=loaded,
                frames=options.frames,
                budget_ms=options.budget_ms,
                allow_other_space=options.allow_other_space or section.allows_other_space,
            )
            for section, settings in nodes
        ]
    checks = [
        check if len(nodes) == 1 else Check(f"{section.node} {check.name}", check.level, check.text)
        for (section, _), item in zip(nodes, found, strict=True)
        for check in item.checks
    ]
    if options.index is not None:
        checks.append(check_index(options.index, _describing_model(found)))
    # Of engines that were refused nothing is known: the clock is held against the newest of the stores.
    built_at = max((item.built_at for item in found), default="") or max(
        (item.store_built_at for item in found), default=""
    )
    checks.append(check_clock(built_at, time.time(), time.time() - wall_s, time.monotonic() - steady_s))
    checks += thermal
    if left_out:
        checks.append(Check("other nodes", Level.OK, f"no engine of their own, left out: {', '.join(left_out)}"))
    engines = [
        {"node": section.node, **facts} for (section, _), item in zip(nodes, found, strict=True) for facts in item.facts
    ]
    return checks, {**engines[0], "engines": engines}


def _describing_model(found: list[NodePreflight]) -> ModelIdentity | None:
    """What the map is compared with: the first network of global descriptors, or else of one image."""
    models = [model for item in found for model in item.models_of_one_image]
    describing = [model for model in models if model.spec.output_kind is OutputKind.GLOBAL_DESCRIPTOR]
    return next(iter(describing or models), None)


def _thermal_checks(nodes: list[tuple[NodeSection, Settings]]) -> list[Check]:
    checks: dict[tuple[object, ...], Check] = {}
    for section, settings in nodes:
        sources = (settings.thermal_sources, settings.thermal_timeline)
        if sources not in checks:
            check = check_thermal(partial(_read_thermal, settings))
            checks[sources] = Check(f"{section.node} {check.name}", check.level, check.text) if checks else check
    return list(checks.values())


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
