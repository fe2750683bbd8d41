"""`gdi engine list`, `inspect` and `prune`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from gps_denied_inference.cli.console import say, table
from gps_denied_inference.cli.engine.fields import entry_fields, entry_rows
from gps_denied_inference.core.engines.file_name import EngineFileName
from gps_denied_inference.core.engines.gate import EngineGate
from gps_denied_inference.core.engines.host import probe_host
from gps_denied_inference.core.engines.store import SIGNATURE_NAME, EngineStore
from gps_denied_inference.core.errors import EngineManifestError

__all__ = ["add_actions"]


def add_actions(actions: Any, common: argparse.ArgumentParser) -> None:
    """Add the actions."""
    lister = actions.add_parser("list", parents=[common], help="list the engines of a store")
    lister.set_defaults(run_action=_list)
    inspector = actions.add_parser("inspect", help="tell what the manifest and the gate say of one engine")
    inspector.add_argument("engine", type=Path, help="engine file in its store")
    inspector.add_argument("--json", action="store_true", help="one JSON object")
    inspector.set_defaults(run_action=_inspect)
    pruner = actions.add_parser(
        "prune", parents=[common], help="remove old engines, and files that the manifest does not know"
    )
    pruner.add_argument("--keep", type=int, default=1, metavar="N", help="newest engines of each kind (default 1)")
    pruner.set_defaults(run_action=_prune)


def _list(options: argparse.Namespace) -> int:
    store = EngineStore(options.store)
    entries = store.manifest().entries
    host = probe_host()
    mismatches = [EngineFileName.parse(entry.file_name).mismatches(host) for entry in entries]
    if options.json:
        engines = [
            {**entry_fields(entry), "fits_this_computer": not reasons}
            for entry, reasons in zip(entries, mismatches, strict=True)
        ]
        is_signed = (store.root / SIGNATURE_NAME).is_file()
        say(json.dumps({"store": str(store.root), "is_signed": is_signed, "engines": engines}, indent=2))
        return 0
    for entry, reasons in zip(entries, mismatches, strict=True):
        say(entry.file_name)
        say(table([("built", entry.built_at), ("fits", "; ".join(reasons) or "this computer")]))
    if not entries:
        say("no engines")
    return 0


def _inspect(options: argparse.Namespace) -> int:
    store = EngineStore(options.engine.parent)
    entry = store.manifest().entry(options.engine.name)
    if entry is None:
        names = ", ".join(item.file_name for item in store.manifest().entries) or "none"
        raise EngineManifestError(f"the manifest of {store.root} has no engine {options.engine.name}; it has: {names}")
    verdict = EngineGate(store, probe_host()).validate(options.engine)
    if options.json:
        steps = [{"name": step.name, "passed": step.passed, "reason": step.reason} for step in verdict.steps]
        say(json.dumps({**entry_fields(entry), "passed": verdict.is_accepted, "steps": steps}, indent=2))
    else:
        say(entry.file_name)
        gate = [(f"gate, {step.name}", "passed" if step.passed else step.reason) for step in verdict.steps]
        say(table([*entry_rows(entry), *gate]))
    return 0


def _prune(options: argparse.Namespace) -> int:
    store = EngineStore(options.store)
    before = store.strangers()
    removed = store.prune(options.keep)
    strangers = sorted(set(before) - set(store.strangers()))
    names = [entry.file_name for entry in removed]
    if options.json:
        say(json.dumps({"removed": names, "unknown_files_removed": strangers}, indent=2))
        return 0
    for name in [*names, *strangers]:
        say(f"removed {name}")
    if not names and not strangers:
        say("nothing to remove")
    return 0
