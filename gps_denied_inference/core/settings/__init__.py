"""Settings: described once, validated once, frozen."""

from gps_denied_inference.core.settings.field import SettingField, SettingValue
from gps_denied_inference.core.settings.fields import ENGINE_FIELDS, GENERAL_FIELDS
from gps_denied_inference.core.settings.model import EngineSettings, Settings, settings_from_mapping

__all__ = [
    "ENGINE_FIELDS",
    "GENERAL_FIELDS",
    "EngineSettings",
    "SettingField",
    "SettingValue",
    "Settings",
    "settings_from_mapping",
]
