"""Which source is chosen, and what is said about the others."""

from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path

import pytest
from manual_clock import ManualClock
from sysfs_trees import build_orin

from gps_denied_inference.core.contracts import ThermalState
from gps_denied_inference.core.errors import SettingsError
from gps_denied_inference.core.thermal import AUTOMATIC_ORDER, ThermalStatePublisher, create_source, selection
from gps_denied_inference.core.thermal.jtop import JtopSource

EXAMPLE = Path(__file__).parents[3] / "config" / "thermal_timeline_example.yaml"


class HangingSource:
    """Answers when it is released."""

    name = "hanging"

    def __init__(self) -> None:
        self.release = threading.Event()

    def read(self) -> ThermalState:
        self.release.wait(20.0)
        return ThermalState()

    def close(self) -> None:
        raise AssertionError("closed while a reading is under way")


def test_sysfs_is_chosen_where_it_alone_delivers_and_the_others_are_explained(tmp_path: Path) -> None:
    source, reason = create_source(("jtop", "sysfs"), sysfs_root=build_orin(tmp_path))
    if isinstance(source, JtopSource):
        pytest.skip("this machine has a running jtop service")
    assert source is not None
    assert source.name == "sysfs"
    assert reason.startswith("sysfs: first of jtop, sysfs to deliver a reading; passed over: jtop: ")


@pytest.mark.parametrize("names", ["auto", ("auto",)])
def test_automatic_choice_without_any_telemetry_names_every_source(
    tmp_path: Path, names: str | tuple[str, ...]
) -> None:
    source, reason = create_source(names, sysfs_root=tmp_path)
    if source is not None:
        assert source.name == "nvml", "an empty sysfs tree leaves only a real GPU"
        source.close()
        return
    for name in AUTOMATIC_ORDER:
        assert f"{name}: " in reason


def test_order_of_the_settings_decides(tmp_path: Path) -> None:
    root = build_orin(tmp_path)
    source, reason = create_source(("scripted", "sysfs"), sysfs_root=root, timeline=EXAMPLE)
    assert source is not None
    assert source.name == "scripted"
    assert "passed over" not in reason
    source, _ = create_source(("sysfs", "scripted"), sysfs_root=root, timeline=EXAMPLE)
    assert source is not None
    assert source.name == "sysfs"


def test_timeline_begins_with_the_first_poll_and_not_with_the_choice() -> None:
    clock = ManualClock()
    source, reason = create_source(("scripted",), timeline=EXAMPLE, clock=clock)
    assert source is not None and reason.startswith("scripted: first of scripted")
    clock.advance(20.0)  # loading engines takes its time
    assert source.read().cpu_temperature_c == 52.0
    clock.advance(20.0)
    assert source.read().cpu_temperature_c == 90.0


@pytest.mark.parametrize("names", [(), ("",)])
def test_no_names_mean_that_no_source_is_wanted(names: tuple[str, ...]) -> None:
    assert create_source(names) == (None, "no thermal source is configured")


def test_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"thermal_sources.*tegrastats.*jtop, nvml, sysfs, scripted"):
        create_source(("sysfs", "tegrastats"))


def test_scripted_without_a_timeline_is_refused() -> None:
    with pytest.raises(SettingsError, match="timeline"):
        create_source(("scripted",))


def test_source_that_hangs_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = HangingSource()
    factories = {"hanging": lambda _here: hanging, **selection._FACTORIES}
    monkeypatch.setattr(selection, "_FACTORIES", factories)
    source, reason = create_source(("hanging", "sysfs"), sysfs_root=build_orin(tmp_path), probe_timeout_s=0.05)
    hanging.release.set()
    assert source is not None
    assert source.name == "sysfs"
    assert "hanging: no answer within 0.05 s" in reason


def test_source_that_starts_late_is_kept_and_recovers(tmp_path: Path) -> None:
    assert create_source(("sysfs",), sysfs_root=tmp_path).source is None
    source, reason = create_source(("sysfs",), sysfs_root=tmp_path, keep_trying=True)
    assert source is not None
    assert reason.startswith("no thermal source delivers a reading: sysfs: ")
    assert reason.endswith("; sysfs is asked again")
    with ThermalStatePublisher(source, poll_hz=10.0, source_reason=reason) as publisher:
        assert not publisher.snapshot().is_telemetry_available
        build_orin(tmp_path)
        deadline_s = time.monotonic() + 20.0
        while not publisher.snapshot().is_telemetry_available:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        assert publisher.snapshot().source == "sysfs"


def test_source_that_hangs_is_never_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = HangingSource()
    monkeypatch.setattr(selection, "_FACTORIES", {"hanging": lambda _here: hanging, **selection._FACTORIES})
    choose = partial(create_source, sysfs_root=tmp_path, probe_timeout_s=0.05, keep_trying=True)
    assert choose(("hanging",)).source is None
    source = choose(("sysfs", "hanging")).source
    assert source is not None and source.name == "sysfs"
    hanging.release.set()


def test_source_whose_first_reading_is_implausible_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lying:
        name = "lying"

        def read(self) -> ThermalState:
            return ThermalState(gpu_temperature_c=-256.0, is_telemetry_available=True, source="lying")

        def close(self) -> None:
            pass

    monkeypatch.setattr(selection, "_FACTORIES", {"lying": lambda _here: Lying(), **selection._FACTORIES})
    source, reason = create_source(("lying", "sysfs"), sysfs_root=build_orin(tmp_path))
    assert source is not None
    assert source.name == "sysfs"
    assert "implausible GPU temperature -256 °C" in reason
