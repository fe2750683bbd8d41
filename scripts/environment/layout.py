"""Where the set-up keeps its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["PACKAGE_NAME", "Layout"]

PACKAGE_NAME = "gps_denied_inference"


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of one checkout."""

    root: Path

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        return self.venv / "bin" / "python"

    @property
    def colcon_build(self) -> Path:
        return self.root / "build"

    @property
    def install(self) -> Path:
        return self.root / "install"

    @property
    def colcon_log(self) -> Path:
        return self.root / "log"

    @property
    def logs(self) -> Path:
        """Output of pip and colcon during set-up; outside ``.venv``, which a new set-up removes."""
        return self.root / "build" / "setup_log"

    @property
    def requirements(self) -> Path:
        return self.root / "requirements"

    @property
    def packages_stamp(self) -> Path:
        return self.venv / "packages.stamp"

    @property
    def build_stamp(self) -> Path:
        return self.root / "build" / "build.stamp"

    @property
    def environment_file(self) -> Path:
        """Shell assignments that ``env.sh`` reads: which ROS this set-up was made for."""
        return self.venv / "environment.sh"
