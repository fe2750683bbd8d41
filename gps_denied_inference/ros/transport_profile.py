"""The Fast DDS profile for large images: where it lies, and whether this process has one."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["PROFILE_VARIABLES", "has_profile", "large_image_profile"]

PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""Fast DDS 2 reads the first, Fast DDS 3 the second."""

_PACKAGE = "gps_denied_inference"
_FILE = Path("config", "fast_dds_large_images.xml")


def has_profile() -> bool:
    """Whether the user, or the launch file, chose a profile for this process; only Fast DDS reads it."""
    return any(os.environ.get(name) for name in PROFILE_VARIABLES)


def large_image_profile() -> Path | None:
    """Return the shipped profile: as installed, or of this source tree. None where neither has it."""
    prefixes = [Path(prefix) for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    candidates = [prefix / "share" / _PACKAGE / _FILE for prefix in prefixes]
    candidates.append(Path(__file__).resolve().parents[2] / _FILE)
    return next((path for path in candidates if path.is_file()), None)
