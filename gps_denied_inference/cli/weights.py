"""`gdi weights`: where the weights of the networks come from, whether they are the published ones; conversion."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from gps_denied_inference.cli.console import say, table
from gps_denied_inference.cli.weights_check import check_weights, convert_weights
from gps_denied_inference.core.architectures import (
    ArchitectureEntry,
    default_registry,
    locate_weights,
    require_accepted_license,
)
from gps_denied_inference.core.errors import EngineBuildError

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add the subcommand with its actions."""
    parser = subparsers.add_parser(
        "weights",
        help="list, verify and convert the weights of the networks",
        description="Weights are never downloaded: they come from installed packages or from a folder of yours.",
    )
    actions = parser.add_subparsers(dest="action", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--weights-dir", type=Path, help="folder searched first for MODEL.safetensors, .pt, .pth, .ckpt"
    )
    common.add_argument("--json", action="store_true", help="one JSON object")
    lister = actions.add_parser("list", parents=[common], help="tell origin, licence and place of all weights")
    lister.set_defaults(run_action=_list)
    verifier = actions.add_parser(
        "verify",
        parents=[common],
        help="compare SHA-256 with the published one and load strictly",
        description="Fails when weights that are named or present differ from what is published, or don't fit the "
        "network. Where no SHA-256 is known, only the fit is checked, and said so; 'gdi weights list' tells which are "
        "known, and from where.",
    )
    verifier.add_argument("models", nargs="*", metavar="MODEL", help="default: all whose weights are present")
    verifier.add_argument(
        "--expect",
        action="append",
        default=[],
        type=_model_and_sha256,
        metavar="MODEL=SHA256",
        help="a file of your own instead of the published one, e.g. trained by you or converted; may be repeated",
    )
    verifier.set_defaults(run_action=_verify)
    converter = actions.add_parser(
        "convert",
        help="write a published checkpoint as safetensors with this package's names",
        description="The result loads without conversion and without pickle. Its SHA-256, and with it the space_id of "
        "its descriptors, is another than the published checkpoint's.",
    )
    converter.add_argument("model", help="a name that 'gdi models' lists")
    converter.add_argument("source", type=Path, help="checkpoint as its authors publish it")
    converter.add_argument("destination", type=Path, help="file to write, .safetensors")
    converter.add_argument("--json", action="store_true", help="one JSON object")
    converter.add_argument(
        "--accept-license", action="append", default=[], metavar="NAME", help="restricted licence of weights to accept"
    )
    converter.set_defaults(run_action=_convert)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the chosen action."""
    return int(options.run_action(options))


def _list(options: argparse.Namespace) -> int:
    registry = default_registry()
    listed = [_described(registry.lookup(name), options.weights_dir) for name in registry]
    if options.json:
        say(json.dumps({"weights": listed}, indent=2))
        return 0
    for item in listed:
        say(item["model"])
        license_text = item["license"]
        if item["license_restriction"]:
            license_text += f" ({item['license_restriction']}; refused until accepted)"
        rows = [
            ("origin", " from ".join(filter(None, (item["url"], item["distribution"])))),
            ("license", license_text),
            ("SHA-256", _expected(item)),
            ("verified", "by layout only" if item["is_verified_by_layout_only"] else "with the published weights"),
            ("place", item["path"] or f"missing: {item['how_to_get']}"),
        ]
        say(table(rows))
    return 0


def _expected(item: dict[str, Any]) -> str:
    if not item["expected_sha256"]:
        return "none known: only the fit is checked"
    source = f"as pinned by {', '.join(item['pinned_by'])}" if item["pinned_by"] else "of the file in the package"
    return f"{item['expected_sha256']} ({source})"


def _described(entry: ArchitectureEntry, weights_dir: Path | None) -> dict[str, Any]:
    spec, origin = entry.spec, entry.spec.weights
    try:
        path = str(locate_weights(spec, entry.name, weights_dir))
    except EngineBuildError:
        path = ""
    return {
        "model": entry.name,
        "url": origin.url if origin else "",
        "distribution": origin.distribution if origin else "",
        "expected_sha256": origin.sha256 if origin else "",
        "pinned_by": list(origin.pinned_by) if origin else [],
        "license": spec.license,
        "license_restriction": spec.license_restriction,
        "is_verified_by_layout_only": spec.is_verified_by_layout_only,
        "path": path,
        "how_to_get": origin.install if origin else f"put them into the weights folder as {entry.name}.safetensors",
    }


def _verify(options: argparse.Namespace) -> int:
    registry = default_registry()
    expected: dict[str, str] = dict(options.expect)
    names = dict.fromkeys((*(options.models or registry), *expected))
    results = [
        check_weights(
            entry,
            options.weights_dir,
            is_required=name in options.models or name in expected,
            named_sha256=expected.get(name, ""),
        )
        for name, entry in ((name, registry.lookup(name)) for name in names)
    ]
    if options.json:
        fields = [
            {
                "model": item.model,
                "verdict": item.verdict.value,
                "path": str(item.path or ""),
                "sha256": item.sha256,
                "reason": item.reason,
            }
            for item in results
        ]
        say(json.dumps({"passed": all(item.is_acceptable for item in results), "weights": fields}, indent=2))
    else:
        say(table([(item.model, " ".join(f"{item.verdict.value}. {item.reason}".split())) for item in results]))
    return 0 if all(item.is_acceptable for item in results) else 1


def _model_and_sha256(text: str) -> tuple[str, str]:
    model, _, sha256 = text.partition("=")
    if not model or not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise argparse.ArgumentTypeError(f"'{text}' is not MODEL=SHA256 with all 64 hexadecimal digits")
    return model, sha256.lower()


def _convert(options: argparse.Namespace) -> int:
    entry = default_registry().lookup(options.model)
    require_accepted_license(entry.name, entry.spec, options.accept_license)
    sha256, count = convert_weights(entry, options.source, options.destination)
    if options.json:
        fields = {"model": entry.name, "path": str(options.destination), "sha256": sha256, "tensors": count}
        say(json.dumps(fields, indent=2))
    else:
        say(
            f"{options.destination}: {count} tensors, SHA-256 {sha256}; "
            f"'gdi weights verify' takes it with --expect {entry.name}={sha256}"
        )
    return 0
