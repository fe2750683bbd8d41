"""`gdi engine sign`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from gps_denied_inference.cli.console import say
from gps_denied_inference.core.engines.signature import generate_key, require_key_outside, sign_manifest
from gps_denied_inference.core.engines.store import EngineStore

__all__ = ["add_actions"]


def add_actions(actions: Any, common: argparse.ArgumentParser) -> None:
    """Add the action."""
    parser = actions.add_parser(
        "sign",
        parents=[common],
        help="sign the manifest of a store",
        description="Signs the manifest (Ed25519). A store that changes wants a new signature. The vehicle gets the "
        "public key (KEY.pub) as trusted_keys; the private one stays where engines are prepared.",
    )
    parser.add_argument("--key", type=Path, required=True, help="private key, PEM")
    parser.add_argument("--generate", action="store_true", help="make the key first; --key must not exist yet")
    parser.set_defaults(run_action=run)


def run(options: argparse.Namespace) -> int:
    """Sign."""
    store = EngineStore(options.store)
    store.manifest()  # before a key is made for nothing
    require_key_outside(store, options.key)
    public_key = generate_key(options.key) if options.generate else None
    signature = sign_manifest(store, options.key)
    if options.json:
        say(json.dumps({"signature": str(signature), "public_key": public_key and str(public_key)}, indent=2))
        return 0
    if public_key is not None:
        say(f"public key: {public_key}")
    say(f"signed: {signature}")
    return 0
