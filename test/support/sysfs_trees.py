"""Fake sysfs trees with the names that real modules show.

Orin: zone names `cpu-thermal`, `gpu-thermal`, `cv0-thermal` … `soc2-thermal`, `tj-thermal` and the
    soctherm_oc attributes are those of NVIDIA's Jetson Linux Developer Guide (r36, "Jetson Orin Nano Series,
    Jetson Orin NX Series and Jetson AGX Orin Series", thermal zones and over-current events) and of the
    tegra234 over-current driver; cooling devices (`cpufreq-cpu0`, `devfreq-17000000.gpu`,
    `gpu-throttle-alert`, `hot-surface-alert`, `pwm-fan`) and trip points (70 °C passive bound to
    hot-surface-alert alone, 99 °C passive, 104.5 °C critical) are as public logs of Orin modules show them.
    The CV zones cannot be read while their rails are off.

Xavier: zones `AO-therm`, `GPU-therm`, `CPU-therm`, `AUX-therm`, `PMIC-Die` (which reads 100 °C always),
    `Tboard_tegra`, `thermal-fan-est` (Developer Guide for Xavier, r32/r35; public logs), GPU devfreq
    `17000000.gv11b`, over-current attributes `oc1..6_irq_cnt` of the tegra194 driver. The trip temperature
    and the cooling device's name are illustrative.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["build_orin", "build_xavier", "set_value"]


def set_value(root: Path, relative: str, value: object) -> None:
    """Write one attribute, as the kernel does, with a newline."""
    path = root / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{value}\n", encoding="utf-8")


def _folder(root: Path, relative: str, attributes: Mapping[str, object]) -> None:
    for name, value in attributes.items():
        set_value(root, f"{relative}/{name}", value)


def _bind(root: Path, zone: str, slot: int, device: str, trip: int) -> None:
    thermal = root / "class" / "thermal"
    (thermal / zone / f"cdev{slot}").symlink_to(thermal / device)
    set_value(thermal, f"{zone}/cdev{slot}_trip_point", trip)


def build_orin(root: Path) -> Path:
    """An Orin at rest: 48 °C, GPU at 306 of 1020 MHz, nothing throttled."""
    devices = ("cpufreq-cpu0", "devfreq-17000000.gpu", "cpu-throttle-alert", "gpu-throttle-alert")
    for index, kind in enumerate((*devices, "hot-surface-alert", "pwm-fan")):
        _folder(
            root,
            f"class/thermal/cooling_device{index}",
            {"type": kind, "cur_state": 2 if kind == "pwm-fan" else 0, "max_state": 3},
        )
    for index, (kind, millidegrees) in enumerate(
        (("cpu-thermal", 48125), ("gpu-thermal", 46500), ("cv0-thermal", None), ("soc0-thermal", 47000))
    ):
        zone = f"class/thermal/thermal_zone{index}"
        set_value(root, f"{zone}/type", kind)
        if millidegrees is not None:
            set_value(root, f"{zone}/temp", millidegrees)
    _folder(
        root,
        "class/thermal/thermal_zone0",
        {
            "trip_point_0_type": "passive",
            "trip_point_0_temp": 99000,
            "trip_point_1_type": "critical",
            "trip_point_1_temp": 104500,
            "trip_point_2_type": "passive",
            "trip_point_2_temp": 70000,
        },
    )
    _bind(root, "thermal_zone0", 0, "cooling_device0", 0)
    _bind(root, "thermal_zone0", 1, "cooling_device2", 0)
    _bind(root, "thermal_zone0", 2, "cooling_device4", 2)
    _folder(root, "class/devfreq/17000000.gpu", {"cur_freq": 306000000, "max_freq": 1020000000})
    _folder(root, "class/devfreq/15340000.vic", {"cur_freq": 729600000, "max_freq": 729600000})
    for core in range(2):
        _folder(
            root,
            f"devices/system/cpu/cpu{core}/cpufreq",
            {"scaling_cur_freq": 729600 + 100000 * core, "scaling_max_freq": 1510400},
        )
    _folder(root, "class/hwmon/hwmon3", {"name": "soctherm_oc"})
    for alarm, count in ((1, 0), (2, 15), (3, 27390)):
        _folder(root, "class/hwmon/hwmon3", {f"oc{alarm}_event_cnt": count, f"oc{alarm}_throt_en": 1})
    return root


def build_xavier(root: Path) -> Path:
    """A Xavier at rest: 41 °C, GPU at 114 of 1109 MHz, nothing throttled."""
    zones = (
        ("AO-therm", 38500),
        ("GPU-therm", 39000),
        ("CPU-therm", 41000),
        ("AUX-therm", 37500),
        ("PMIC-Die", 100000),
        ("Tboard_tegra", 36000),
        ("thermal-fan-est", 39200),
    )
    for index, (kind, millidegrees) in enumerate(zones):
        _folder(root, f"class/thermal/thermal_zone{index}", {"type": kind, "temp": millidegrees})
    _folder(root, "class/thermal/thermal_zone1", {"trip_point_0_type": "passive", "trip_point_0_temp": 86000})
    _folder(root, "class/thermal/cooling_device0", {"type": "gpu-balanced", "cur_state": 0, "max_state": 10})
    _folder(root, "class/thermal/cooling_device1", {"type": "pwm-fan", "cur_state": 4, "max_state": 10})
    _folder(root, "class/devfreq/17000000.gv11b", {"cur_freq": 114750000, "max_freq": 1109250000})
    _folder(root, "class/hwmon/hwmon4", {"name": "soctherm_oc"})
    for alarm in range(1, 7):
        _folder(root, "class/hwmon/hwmon4", {f"oc{alarm}_irq_cnt": 0, f"oc{alarm}_priority": 0})
    return root
