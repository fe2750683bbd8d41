"""ROS parameters: declared from the tables of settings, validated with a sentence that tells the right values."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from gps_denied_inference.core.errors import SettingsError
from gps_denied_inference.core.settings import (
    ENGINE_FIELDS,
    GENERAL_FIELDS,
    EngineSettings,
    SettingField,
    Settings,
    SettingValue,
    settings_from_mapping,
)

__all__ = ["NODE_ENGINE_FIELDS", "NODE_FIELDS", "NodeParameters"]

NODE_FIELDS: tuple[SettingField, ...] = (
    SettingField("camera_id", "", "Name of the camera in the messages; empty: the image's frame_id.", is_dynamic=True),
    SettingField(
        "image_transport",
        "raw",
        "raw: sensor_msgs/Image on `image`; compressed: sensor_msgs/CompressedImage on `image/compressed`.",
        choices=("raw", "compressed"),
    ),
    SettingField(
        "input_reliability",
        "best_effort",
        "Reliability of the image subscription; reliable refuses a best-effort camera.",
        choices=("best_effort", "reliable"),
    ),
    SettingField("input_depth", 1, "Queue depth of the image subscription, messages.", minimum=1, maximum=100),
    SettingField(
        "output_reliability",
        "reliable",
        "Reliability of the feature publishers.",
        choices=("best_effort", "reliable"),
    ),
    SettingField("output_depth", 10, "Queue depth of the feature publishers, messages.", minimum=1, maximum=1000),
    SettingField(
        "diagnostics_rate_hz",
        1.0,
        "Rate of /diagnostics and engine_health, Hz of the steady clock.",
        minimum=0.1,
        maximum=10.0,
    ),
    SettingField(
        "input_timeout_s",
        2.0,
        "An active node without an image for this long is WARN in the diagnostics, s.",
        minimum=0.1,
        maximum=3600.0,
        is_dynamic=True,
    ),
    SettingField(
        "overload_warn_share",
        0.1,
        "Share of the frames of the last 2 s that may be overwritten by newer ones before the diagnostics WARN.",
        minimum=0.0,
        maximum=1.0,
        is_dynamic=True,
    ),
    SettingField(
        "input_min_rate_hz",
        0.0,
        "Fewer images a second are WARN in the diagnostics, Hz; 0: any rate is good.",
        minimum=0.0,
        maximum=1000.0,
        is_dynamic=True,
    ),
    SettingField(
        "input_max_jitter_ms",
        0.0,
        "More jitter (95th percentile of the intervals' distance from their median) is WARN, ms; 0: any is good.",
        minimum=0.0,
        maximum=60000.0,
        is_dynamic=True,
    ),
    SettingField(
        "input_future_tolerance_ms",
        50.0,
        "A stamp that is further ahead of the node's clock is WARN in the diagnostics, ms.",
        minimum=0.0,
        maximum=60000.0,
        is_dynamic=True,
    ),
    SettingField(
        "memory_warn_share",
        0.9,
        "WARN when more than this share of the computer's memory is in use.",
        minimum=0.01,
        maximum=1.0,
        is_dynamic=True,
    ),
    SettingField(
        "memory_error_share",
        0.97,
        "ERROR when more than this share of the computer's memory is in use.",
        minimum=0.01,
        maximum=1.0,
        is_dynamic=True,
    ),
    SettingField(
        "memory_max_slope_mib_per_h",
        200.0,
        "A process that grows faster, over 2 to 10 minutes, is WARN, MiB an hour; 0: any growth is good.",
        minimum=0.0,
        maximum=1000000.0,
        is_dynamic=True,
    ),
    SettingField(
        "thermal_unknown_level",
        "warn",
        "Diagnostic level of a thermal state that is not known.",
        choices=("warn", "error"),
        is_dynamic=True,
    ),
    SettingField(
        "thermal_stuck_after_s",
        900.0,
        "Temperatures and clocks that stand still for this long are WARN in the diagnostics, s; 0: never.",
        minimum=0.0,
        maximum=86400.0,
        is_dynamic=True,
    ),
    SettingField(
        "infer_deadline_ms",
        5000.0,
        "A call to the network that takes longer, ms, is abandoned and the engine loaded again; the second time the "
        "process ends, for its supervisor to start it anew. 0: never.",
        minimum=0.0,
        maximum=600000.0,
        is_dynamic=True,
    ),
    SettingField(
        "degradation_allow_other_space",
        False,
        "Take rungs whose descriptors live in another space: whoever compares them must follow space_id.",
    ),
    SettingField(
        "degradation_dwell_s",
        5.0,
        "Shortest time between two steps on the degradation ladder, s.",
        minimum=0.5,
        maximum=600.0,
        is_dynamic=True,
    ),
    SettingField(
        "degradation_stable_s",
        30.0,
        "Conditions must be good for this long before a step up, s; longer after a step up that failed.",
        minimum=0.5,
        maximum=3600.0,
        is_dynamic=True,
    ),
    SettingField(
        "degradation_miss_ratio",
        0.2,
        "More than this share of the frames of 2 s missing the deadline asks for a step down; at most half of it "
        "allows one up.",
        minimum=0.01,
        maximum=1.0,
        is_dynamic=True,
    ),
    SettingField(
        "degradation_memory_share",
        0.95,
        "More than this share of the computer's memory in use asks for a step down; 0.02 less allows one up.",
        minimum=0.01,
        maximum=1.0,
        is_dynamic=True,
    ),
    SettingField(
        "deadline_ms",
        400.0,
        "A frame whose features are ready later than this after its reception has missed its deadline, as one that was "
        "overwritten or went stale; ms. For the degradation ladder; one in 20 is WARN in the diagnostics.",
        minimum=1.0,
        maximum=60000.0,
        is_dynamic=True,
    ),
    SettingField(
        "bond_enabled",
        False,
        "Form a bond to nav2's lifecycle manager while active, as its nodes do (topic `bond`, heartbeats at 10 Hz); "
        "needs bondpy.",
    ),
    SettingField(
        "deactivate_timeout_s",
        5.0,
        "How long deactivate waits for the frame in work before it fails, s.",
        minimum=0.1,
        maximum=60.0,
    ),
)
"""Parameters that only the node has."""

NODE_ENGINE_FIELDS: tuple[SettingField, ...] = (
    SettingField(
        "max_rate_hz",
        0.0,
        "Most frames a second that the engine works on, evenly spread, Hz; 0: every one it has time for.",
        minimum=0.0,
        maximum=1000.0,
        is_dynamic=True,
    ),
    SettingField(
        "priority",
        0,
        "Which of several engines on one device works first when frames wait for both: the one with the higher number; "
        "among equals, the one that has waited longest.",
        minimum=0,
        maximum=100,
        is_dynamic=True,
    ),
    SettingField(
        "degradation_ladder",
        "",
        "Path of the YAML file with the degradation ladder (config/degradation_ladder_example.yaml); empty: none, the "
        "engine never degrades.",
    ),
)
"""Parameters of each engine, given as NAME.field, that only the node has."""


_FOREIGN_PREFIXES = ("qos_overrides.", "diagnostic_updater.")
_FOREIGN_NAMES = frozenset({"use_sim_time", "start_type_description_service", "bond_disable_heartbeat_timeout"})
"""Overrides that rclpy, diagnostic_updater and bondpy read themselves."""


class NodeParameters:
    """Declares every parameter of a node and hands them out as validated settings.

    Args:
        node: the node; its parameter overrides are read here.
        runtime_preset: fixes NAME.runtime of every engine (the executables with a runtime in their name).
        fields: the parameters; with `engines` among them, those of each engine too.
        engine_fields: the parameters of each engine.
    """

    def __init__(
        self,
        node: Node,
        runtime_preset: str | None = None,
        *,
        fields: Sequence[SettingField] = (*GENERAL_FIELDS, *NODE_FIELDS),
        engine_fields: Sequence[SettingField] = (*ENGINE_FIELDS, *NODE_ENGINE_FIELDS),
    ) -> None:
        self._node = node
        self._fields: dict[str, tuple[SettingField, str]] = {}
        self.is_configured = False
        for item in fields:
            self._declare(item, "", item.default)
        if self.engine_names:  # they become names of parameters and topics: wrong ones are told before
            Settings(engines=tuple(EngineSettings(name) for name in self.engine_names))
        for engine in self.engine_names:
            for item in engine_fields:
                preset = runtime_preset if item.name == "runtime" and runtime_preset else item.default
                self._declare(item, f"{engine}.", preset, is_fixed=item.name == "runtime" and bool(runtime_preset))
        self._refuse_unknown_overrides()
        node.add_on_set_parameters_callback(self._on_set)

    def settings(self) -> Settings:
        """Return the settings of the core.

        Raises:
            SettingsError: values that don't go together.
        """
        of_the_core = {item.name for item in GENERAL_FIELDS}
        of_engines = {item.name for item in ENGINE_FIELDS}
        names = (
            name
            for name, (item, prefix) in self._fields.items()
            if item.name in (of_engines if prefix else of_the_core)
        )
        return settings_from_mapping({name: self._value(name) for name in names})

    @property
    def engine_names(self) -> Sequence[str]:
        """Names of the engines, in the order of the parameter `engines`."""
        return tuple(self._value("engines")) if "engines" in self._fields else ()

    def text(self, name: str) -> str:
        return str(self._value(name))

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list without its empty items: rclpy cannot tell the type of an empty list."""
        return tuple(str(item) for item in self._value(name) if item)

    def number(self, name: str) -> float:
        return float(self._value(name))

    def flag(self, name: str) -> bool:
        return bool(self._value(name))

    def count(self, name: str) -> int:
        return int(self._value(name))

    def _value(self, name: str) -> Any:
        item, prefix = self._fields[name]
        return item.validated(self._node.get_parameter(name).value, prefix=prefix)

    def _declare(self, item: SettingField, prefix: str, default: SettingValue, *, is_fixed: bool = False) -> None:
        name = prefix + item.name
        value = list(default) if isinstance(default, tuple) else default
        if value == []:
            value = [""]  # rclpy cannot tell the type of an empty list
        self._fields[name] = (item, prefix)
        try:
            parameter = self._node.declare_parameter(name, value, _descriptor(item, is_fixed))
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            raise SettingsError(name, self._overrides()[name].value, item.allowed) from error
        if is_fixed and parameter.value != default:
            raise SettingsError(name, parameter.value, f"{default!r} (this executable has its runtime preset)")
        item.validated(parameter.value, prefix=prefix)

    def _overrides(self) -> dict[str, Parameter[Any]]:
        # rclpy keeps them here and shows them nowhere else; newer releases may not.
        return dict(getattr(self._node, "_parameter_overrides", {}))

    def _refuse_unknown_overrides(self) -> None:
        for name, parameter in self._overrides().items():
            if self._node.has_parameter(name) or name in _FOREIGN_NAMES or name.startswith(_FOREIGN_PREFIXES):
                continue
            near = difflib.get_close_matches(name, self._fields, n=3)
            hint = f"did you mean {' or '.join(near)}? " if near else ""
            raise SettingsError(
                name,
                parameter.value,
                f"no such parameter; {hint}Known are {', '.join(self._fields)}. "
                "Parameters of other nodes belong under those nodes' names in the file",
            )

    def _on_set(self, parameters: list[Parameter[Any]]) -> SetParametersResult:
        for parameter in parameters:
            if parameter.name not in self._fields:
                continue
            item, prefix = self._fields[parameter.name]
            try:
                item.validated(parameter.value, prefix=prefix)
            except SettingsError as error:
                return SetParametersResult(successful=False, reason=str(error))
            if self.is_configured and not item.is_dynamic:
                reason = f"'{parameter.name}' takes effect at configure: bring the node to unconfigured (cleanup) first"
                return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)


def _descriptor(item: SettingField, is_fixed: bool) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(
        description=item.description,
        additional_constraints=item.allowed,
        read_only=item.is_read_only or is_fixed,
        # A whole number in a parameter file (`thermal_poll_hz: 2`) would be refused for a double otherwise.
        dynamic_typing=isinstance(item.default, float),
    )
    if item.minimum is not None and item.maximum is not None and not isinstance(item.default, bool):
        if isinstance(item.default, int):
            descriptor.integer_range = [IntegerRange(from_value=int(item.minimum), to_value=int(item.maximum), step=1)]
        else:
            descriptor.floating_point_range = [FloatingPointRange(from_value=item.minimum, to_value=item.maximum)]
    return descriptor
