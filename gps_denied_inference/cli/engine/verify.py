"""`gdi engine verify`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from gps_denied_inference.cli.console import say
from gps_denied_inference.core.engines.gate import EngineGate, GateVerdict
from gps_denied_inference.core.engines.host import probe_host
from gps_denied_inference.core.engines.store import EngineStore
from gps_denied_inference.core.errors import EngineManifestError, SettingsError

__all__ = ["add_actions", "problems"]


def add_actions(actions: Any, common: argparse.ArgumentParser) -> None:
    """Add the action."""
    parser = actions.add_parser(
        "verify",
        parents=[common],
        help="take every engine through the gate",
        description="Takes every engine of the store through the gate, and looks for files that the manifest does not "
        "know. Ends with status 0 only when every engine passes and nothing is unknown.",
    )
    parser.add_argument("--trusted-key", type=Path, action="append", default=[], metavar="PEM", help="may be repeated")
    parser.add_argument("--require-signature", action="store_true", help="refuse a store that no trusted key signed")
    parser.add_argument(
        "--any-host", action="store_true", help="don't mind engines that were built for other computers"
    )
    parser.set_defaults(run_action=run)


def run(options: argparse.Namespace) -> int:
    """Verify. Returns 1 when anything is wrong."""
    if options.trusted_key and not options.require_signature:
        raise SettingsError("--trusted-key", str(options.trusted_key[0]), "together with --require-signature")
    store = EngineStore(options.store)
    entries = store.manifest().entries
    if not entries:
        raise EngineManifestError(
            f"the store {options.store} holds no engine; build one: gdi engine build MODEL --runtime LABEL --store "
            f"{options.store}"
        )
    gate = EngineGate(
        store,
        probe_host(),
        require_signature=options.require_signature,
        trusted_keys=tuple(options.trusted_key),
    )
    verdicts = [gate.validate(store.path_of(entry)) for entry in entries]
    found = [problems(verdict, is_any_host=options.any_host) for verdict in verdicts]
    strangers = store.strangers()
    if options.json:
        _write_json(verdicts, found, strangers)
    else:
        for verdict, reasons in zip(verdicts, found, strict=True):
            say(f"{'fail' if reasons else 'ok':<4}  {verdict.path.name}")
            for reason in reasons:
                say(f"      {reason}")
        for name in strangers:
            say(f"fail  {name}\n      the manifest does not know this file; remove it: gdi engine prune --store ...")
    bad = sum(map(bool, found)) + len(strangers)
    if bad:
        print(
            f"gdi engine: {sum(map(bool, found))} of {len(verdicts)} engines do not pass, {len(strangers)} files are "
            "unknown",
            file=sys.stderr,
        )
    return 1 if bad else 0


def problems(verdict: GateVerdict, *, is_any_host: bool) -> tuple[str, ...]:
    """Return why an engine does not pass, in the gate's order; empty when it does."""
    excused = {"host"} if is_any_host else set()
    return tuple(
        f"{step.name}: {step.reason}" for step in verdict.steps if not step.passed and step.name not in excused
    )


def _write_json(verdicts: list[GateVerdict], found: list[tuple[str, ...]], strangers: tuple[str, ...]) -> None:
    document = {
        "passed": not any(found) and not strangers,
        "engines": [
            {
                "file_name": verdict.path.name,
                "passed": not reasons,
                "error": type(verdict.error).__name__ if verdict.error is not None and reasons else None,
                "steps": [{"name": s.name, "passed": s.passed, "reason": s.reason} for s in verdict.steps],
            }
            for verdict, reasons in zip(verdicts, found, strict=True)
        ],
        "unknown_files": list(strangers),
    }
    say(json.dumps(document, indent=2))
