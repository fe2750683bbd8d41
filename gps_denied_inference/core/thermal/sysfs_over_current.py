"""Over-current counters of Tegra's thermal controller.

The driver registers an hwmon device named `soctherm_oc`. On Orin (tegra234) it shows `oc1..3_event_cnt` with
`oc1..3_throt_en`: under-voltage, average over-current, instantaneous over-current; on Xavier (tegra194) and
TX2 `oc1..6_irq_cnt`. All are cumulative (NVIDIA Jetson Linux Developer Guide, "Platform Power and
Performance"; L4T kernel, `drivers/thermal/tegra` over-current event driver), so only what they grew by says
anything about now.
"""

from __future__ import annotations

import re
from pathlib import Path

from gps_denied_inference.core.thermal.sysfs_files import read_integer, read_text, subfolders

__all__ = ["OverCurrentCounters"]

_COUNTER = re.compile(r"^oc(\d+)_(?:event|irq)_cnt$")


class OverCurrentCounters:
    """Remembers the counters between readings and tells which have grown."""

    def __init__(self, sysfs_root: Path) -> None:
        self._sysfs_root = sysfs_root
        self._previous: dict[Path, int] = {}

    def events_since_last_call(self) -> tuple[str, ...]:
        """Alarms that fired since the last call, as `over-current alarm oc3 (+4)`; none on the first call.

        An alarm whose `throt_en` is 0 counts but throttles nothing, and is left out. A counter that fell was
        reset.
        """
        fired = []
        current: dict[Path, int] = {}
        for path in self._counters():
            count = read_integer(path)
            if count is None:
                continue
            current[path] = count
            growth = count - self._previous.get(path, count)
            alarm = path.name.split("_")[0]
            if growth > 0 and read_integer(path.with_name(f"{alarm}_throt_en")) != 0:
                fired.append(f"over-current alarm {alarm} (+{growth})")
        self._previous = current
        return tuple(fired)

    def are_present(self) -> bool:
        """Whether this computer has any."""
        return bool(self._counters())

    def _counters(self) -> list[Path]:
        return [
            attribute
            for device in subfolders(self._sysfs_root / "class" / "hwmon", "hwmon*")
            if read_text(device / "name") == "soctherm_oc"
            for attribute in subfolders(device, "oc*_cnt")
            if _COUNTER.match(attribute.name)
        ]
