"""Asks the thermal publisher, if there is one."""

from __future__ import annotations

from gps_denied_inference.core.contracts import UNKNOWN_THERMAL_STATE, ThermalPublisher, ThermalState
from gps_denied_inference.core.errors import GpsDeniedInferenceError, TelemetryUnavailableError

__all__ = ["read_thermal_state"]


def read_thermal_state(publisher: ThermalPublisher | None) -> ThermalState:
    """Return the publisher's snapshot; without a publisher, a state that claims nothing.

    Raises:
        TelemetryUnavailableError: the publisher failed.
    """
    if publisher is None:
        return UNKNOWN_THERMAL_STATE
    try:
        return publisher.snapshot()
    except GpsDeniedInferenceError:
        raise
    except Exception as error:  # a stranger's code: nothing but our error family leaves a runtime
        raise TelemetryUnavailableError(
            f"the thermal publisher {type(publisher).__name__} failed ({type(error).__name__}: {error}); "
            "check its source or run without one"
        ) from error
