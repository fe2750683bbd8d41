"""What the manifest says of an engine, for people and for JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from gps_denied_inference.core.engines.manifest import ManifestEntry

__all__ = ["entry_fields", "entry_rows"]


def entry_fields(entry: ManifestEntry) -> dict[str, Any]:
    """Return an entry as JSON takes it."""
    return {
        "file_name": entry.file_name,
        "sha256": entry.sha256,
        "size_bytes": entry.size_bytes,
        "memory_bytes": entry.memory_bytes,
        "model": entry.model,
        "runtime": entry.runtime.value,
        "precision": entry.precision.value,
        "weights_sha256": entry.weights_sha256,
        "preprocess_sha256": entry.preprocess_sha256,
        "source_onnx_sha256": entry.source_onnx_sha256,
        "license": entry.license,
        "built_at": entry.built_at,
        "package_version": entry.package_version,
        "profiles": [asdict(profile) for profile in entry.profiles],
        "build_flags": dict(entry.build_flags),
        "artefacts": dict(entry.artefacts),
    }


def entry_rows(entry: ManifestEntry) -> list[tuple[str, str]]:
    """Return an entry as lines of a table."""
    rows = [
        ("model", entry.model),
        ("runtime", f"{entry.runtime.value}, {entry.precision.value}"),
        ("size", f"{entry.size_bytes / 1024**2:.1f} MiB"),
        ("memory", f"{entry.memory_bytes / 1024**2:.0f} MiB on the device when loaded (estimated at the build)"),
        ("SHA-256", entry.sha256),
        ("weights SHA-256", entry.weights_sha256),
        ("preprocessing SHA-256", entry.preprocess_sha256),
        ("source ONNX SHA-256", entry.source_onnx_sha256),
        ("license", entry.license),
        ("built", f"{entry.built_at} by gps_denied_inference {entry.package_version}"),
        *(
            (
                f"profile of {item.input_name}",
                " to ".join("x".join(map(str, shape)) for shape in (item.min_shape, item.opt_shape, item.max_shape)),
            )
            for item in entry.profiles
        ),
        *((f"built with {name}", value) for name, value in sorted(entry.build_flags.items())),
        *(("artefact", name) for name in sorted(entry.artefacts)),
    ]
    return [(name, value) for name, value in rows if value]
