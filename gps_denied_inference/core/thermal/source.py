"""What a thermal source has to offer."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from gps_denied_inference.core.contracts import ThermalState

__all__ = ["ThermalSource"]


@runtime_checkable
class ThermalSource(Protocol):
    """One way to learn how hot the computer is and whether its clocks are held down.

    Only one thread reads a source at a time. A failed `read` leaves it usable: the next one tries again.
    """

    @property
    def name(self) -> str:
        """As settings and `ThermalState.source` spell it."""
        ...

    def read(self) -> ThermalState:
        """Read the sensors now.

        Raises:
            TelemetryUnavailableError: nothing could be read; says why.
        """
        ...

    def close(self) -> None:
        """Give back what the source holds; twice is harmless."""
        ...
