"""Parameters that the nodes behind the inference node share; the names mean what they mean there."""

from __future__ import annotations

from dataclasses import replace

from gps_denied_inference.core.settings import GENERAL_FIELDS, SettingField
from gps_denied_inference.ros.parameters import NODE_FIELDS

__all__ = ["WORKER_FIELDS", "fields_named"]

_DESCRIPTIONS = {
    "max_frame_age_ms": "A message that waited longer than this since its reception is dropped as stale, ms of the "
    "steady clock.",
    "input_reliability": "Reliability of the subscriptions; reliable refuses a best-effort publisher.",
    "input_depth": "Queue depth of the subscriptions, messages.",
    "output_reliability": "Reliability of the publisher.",
    "output_depth": "Queue depth of the publisher, messages.",
    "diagnostics_rate_hz": "Rate of /diagnostics, Hz of the steady clock.",
    "input_timeout_s": "An active node without a message for this long is WARN in the diagnostics, s.",
    "overload_warn_share": "Share of the messages of the last 2 s that may be overwritten by newer ones before the "
    "diagnostics WARN.",
    "bond_enabled": None,
    "deactivate_timeout_s": "How long deactivate waits for the message in work before it fails, s.",
}


def fields_named(*names: str) -> tuple[SettingField, ...]:
    """Return these parameters of the inference node, in this order."""
    fields = {item.name: item for item in (*GENERAL_FIELDS, *NODE_FIELDS)}
    return tuple(fields[name] for name in names)


WORKER_FIELDS: tuple[SettingField, ...] = tuple(
    replace(item, description=_DESCRIPTIONS[item.name] or item.description) for item in fields_named(*_DESCRIPTIONS)
)
"""Of a node that takes messages, works on the newest, and publishes the result."""
