"""The tables of settings: what exists, with default, unit and range."""

from __future__ import annotations

from gps_denied_inference.core.contracts import PrecisionMode, ResizeMode, RuntimeLabel
from gps_denied_inference.core.settings.field import SettingField

__all__ = ["ENGINE_FIELDS", "GENERAL_FIELDS"]

GENERAL_FIELDS: tuple[SettingField, ...] = (
    SettingField(
        "engines",
        ("primary",),
        "Names of the engines to load; each has its own parameters NAME.runtime, NAME.model, ... "
        "This version loads exactly one.",
        is_read_only=True,
    ),
    SettingField(
        "weights_dir",
        "",
        "Folder searched first for MODEL.safetensors, MODEL.pt or MODEL.pth; empty: only installed weight packages.",
    ),
    SettingField(
        "allow_cpu_fallback",
        False,
        "Run in FP32 on the CPU when the requested device is absent. Off: such a machine refuses at configure.",
    ),
    SettingField(
        "allow_ungated",
        False,
        "Run a bare checkpoint that did not pass the engine gate (desk and demo use). Diagnostics show it.",
    ),
    SettingField(
        "enabled_runtimes",
        tuple(label.value for label in RuntimeLabel),
        "Runtimes that may be used; one that is not listed is never imported.",
        choices=tuple(label.value for label in RuntimeLabel),
    ),
    SettingField(
        "architecture_modules",
        (),
        "Python modules with a function register(registry) that adds architectures.",
    ),
    SettingField(
        "thermal_sources",
        ("auto",),
        "Thermal sources in order of preference; auto: jtop, nvml, sysfs. An empty string: none.",
        choices=("", "auto", "jtop", "nvml", "sysfs", "scripted"),
    ),
    SettingField("thermal_timeline", "", "Path of the YAML timeline for the thermal source 'scripted'."),
    SettingField(
        "thermal_poll_hz",
        2.0,
        "How often the thermal source is read and thermal_state is published, Hz.",
        minimum=0.2,
        maximum=10.0,
    ),
    SettingField(
        "per_frame_debug_log",
        False,
        "Write one DEBUG line a frame with its latencies.",
    ),
    SettingField(
        "max_frame_age_ms",
        400.0,
        "A frame that waited longer than this since its reception is dropped as stale, ms of the steady clock.",
        minimum=1.0,
        maximum=60000.0,
        is_dynamic=True,
    ),
)
"""Settings of a whole process."""

ENGINE_FIELDS: tuple[SettingField, ...] = (
    SettingField(
        "runtime",
        RuntimeLabel.PYTORCH_FP16.value,
        "Runtime that executes the network.",
        choices=tuple(label.value for label in RuntimeLabel),
    ),
    SettingField("model", "efficientnet_lite0_grid", "Name of a registered architecture (gdi models lists them)."),
    SettingField(
        "checkpoint",
        "",
        "Path of the checkpoint (fake runtime: of its YAML script); empty: weights_dir, then installed packages.",
    ),
    SettingField(
        "precision",
        PrecisionMode.FP16.value,
        "Requested arithmetic.",
        choices=tuple(mode.value for mode in PrecisionMode),
    ),
    SettingField("device", "cuda:0", "Requested device: cuda:N or cpu."),
    SettingField(
        "resize_mode",
        "architecture",
        "How another aspect ratio is treated; architecture: as the architecture declares. Part of space_id.",
        choices=("architecture", *(mode.value for mode in ResizeMode)),
    ),
    SettingField(
        "top_k",
        0,
        "Most keypoints to publish, best scores first; 0: all that the network returns. Local features only.",
        minimum=0,
        maximum=65536,
    ),
)
"""Settings of one engine, given as NAME.field."""
