"""The lifecycle node that tells of heat alone, for a computer whose inference runs elsewhere or not at all."""

from __future__ import annotations

from typing import Any

from rclpy.clock import Clock, ClockType

import gps_denied_inference.msg as messages
from gps_denied_inference.core.contracts import ThermalState
from gps_denied_inference.core.health import Level, TaskStatus, ThermalReading, thermal_status
from gps_denied_inference.core.interface import thermal_state_message
from gps_denied_inference.core.thermal import ThermalStatePublisher, create_source
from gps_denied_inference.ros.diagnostics import DiagnosticsPublisher
from gps_denied_inference.ros.guarded_lifecycle_node import GuardedLifecycleNode
from gps_denied_inference.ros.log_bridge import LogBridge
from gps_denied_inference.ros.message_factory import RclpyMessageFactory
from gps_denied_inference.ros.qos import LATCHED
from gps_denied_inference.ros.thermal_monitor_parameters import ThermalMonitorParameters
from gps_denied_inference.ros.thresholds import thermal_limits

__all__ = ["ThermalMonitorNode"]


class ThermalMonitorNode(GuardedLifecycleNode):
    """Publishes `thermal_state`, latched, and the task `thermal` on `/diagnostics`.

    The source is opened at configure and read while the node is active. When it is not, the latched state says so: a
    last reading must not be taken for a living one.

    Args:
        name: of the node, unless remapped.

    Raises:
        SettingsError: a parameter override is wrong.
    """

    def __init__(self, name: str = "thermal_monitor", **node_options: Any) -> None:
        super().__init__(name, **node_options)
        self._node_parameters = ThermalMonitorParameters(self)
        self._factory = RclpyMessageFactory()
        self._log_bridge = LogBridge(self.get_logger())
        self._log_bridge.install(is_debug=False)
        # Heat does not wait for simulated time.
        self._steady_clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._thermal: ThermalStatePublisher | None = None
        self._state_timer: Any = None
        self._publisher = self.create_publisher(messages.ThermalState, "thermal_state", LATCHED)
        self._diagnostics = DiagnosticsPublisher(self, ("thermal",))
        self._report_timer: Any = None
        self._create_report_timer()

    # The steps of the lifecycle.

    @property
    def is_bond_enabled(self) -> bool:
        return self._node_parameters.flag("bond_enabled")

    def configure(self) -> None:
        parameters = self._node_parameters
        source, reason = create_source(parameters.sources, timeline=parameters.timeline, keep_trying=True)
        self.get_logger().info(f"thermal source: {reason}")
        self._thermal = ThermalStatePublisher(
            source, parameters.number("thermal_poll_hz"), on_flip=self._publish, source_reason=reason
        )
        self._create_report_timer()
        self._publish_present()
        parameters.is_configured = True

    def activate(self) -> None:
        assert self._thermal is not None
        self._thermal.start()
        self._state_timer = self.create_timer(
            1.0 / self._node_parameters.number("thermal_poll_hz"), self._publish_present, clock=self._steady_clock
        )

    def deactivate(self) -> None:
        if self._state_timer is None:
            return
        self.destroy_timer(self._state_timer)
        self._state_timer = None
        if self._thermal is not None:
            self._thermal.stop()
        self._publish_present()

    def release(self) -> None:
        self._node_parameters.is_configured = False
        if self._thermal is not None:
            self._thermal.close()
            self._thermal = None
            self._publish_present()

    def close(self) -> None:
        """Stop and give everything back, whatever the state. For the end of the process."""
        self.deactivate()
        self.release()
        self._log_bridge.remove()

    # Reports, on the executor's thread; a throttle that begins or ends is published on the polling thread at once.

    def _create_report_timer(self) -> None:
        if self._report_timer is not None:
            self.destroy_timer(self._report_timer)
        period_s = 1.0 / self._node_parameters.number("diagnostics_rate_hz")
        self._report_timer = self.create_timer(period_s, self._report, clock=self._steady_clock)

    def _report(self) -> None:
        self._diagnostics.publish([self._status()])

    def _status(self) -> TaskStatus:
        if self._configure_error:
            return TaskStatus("thermal", Level.ERROR, self._configure_error)
        limits = thermal_limits(self._node_parameters)
        if self._thermal is None or self._state_timer is None:
            remedy = "configure and activate it" if self._thermal is None else "activate it"
            message = f"thermal state unknown ({self._state().cause}); {remedy}"
            return TaskStatus("thermal", limits.unknown_level, message)
        reading = ThermalReading(self._state(), self._thermal.source_reason, self._thermal.seconds_unchanged())
        return thermal_status(reading, limits)

    def _state(self) -> ThermalState:
        if self._thermal is None:
            return ThermalState(cause="the thermal monitor is not configured")
        if self._state_timer is None:
            return ThermalState(cause="the thermal monitor is not active")
        return self._thermal.observe()

    def _publish_present(self) -> None:
        self._publish(self._state())

    def _publish(self, state: ThermalState) -> None:
        stamp_ns = int(self.get_clock().now().nanoseconds)
        self._publisher.publish(thermal_state_message(self._factory, state, stamp_ns=stamp_ns))
