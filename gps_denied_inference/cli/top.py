"""`gdi top`: rates, latency, drops, temperatures and health, live from the topics. Needs ROS."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from typing import Any

from gps_denied_inference.cli.console import say, table
from gps_denied_inference.core.errors import RuntimeNotAvailableError

__all__ = ["add_parser", "figures", "run"]

_LEVELS = ("OK", "WARN", "ERROR")
_SILENT_AFTER_S = 5.0


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "top",
        help="watch the nodes that run",
        description="Shows every inference node and thermal monitor on DDS: rates, latency, drops, temperatures, "
        "memory and health, from engine_health and thermal_state. Ctrl-C ends it.",
    )
    parser.add_argument("--namespace", default="", help="only the node in this namespace")
    parser.add_argument("--period", type=float, default=1.0, metavar="S", help="seconds between two looks (default 1)")
    parser.add_argument("--once", action="store_true", help="show what is heard in the first seconds, and end")
    parser.add_argument("--wait", type=float, default=5.0, metavar="S", help="how long --once listens (default 5)")
    parser.add_argument("--json", action="store_true", help="one JSON document a look")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Show until Ctrl-C. With --once returns 1 when no node was heard or one is in ERROR."""
    try:
        from gps_denied_inference.ros.health_watch import HealthWatch
    except ImportError as error:
        raise RuntimeNotAvailableError(
            f"gdi top needs ROS 2 and the built package ({error}); run 'make setup' and '. ./env.sh'"
        ) from error

    with HealthWatch(options.namespace) as watch:
        if options.once:
            nodes = _listen(watch, options.wait)
            _show(nodes, options)
            return 0 if nodes and all(node["level"] != "ERROR" for node in nodes) else 1
        if options.json or not sys.stdout.isatty():
            while True:
                _show([figures(sighting, time.monotonic()) for sighting in watch.spin(options.period)], options)
        _live(watch, options.period)
    return 0


def figures(sighting: Any, now_s: float) -> dict[str, Any]:
    """Return what is known of a namespace, ready for JSON; None where nothing is known.

    Args:
        sighting: a `NodeSighting`.
        now_s: steady clock, seconds.
    """
    health, thermal = sighting.health, sighting.thermal
    thermal_silent_s = now_s - sighting.thermal_heard_s
    silent_s = thermal_silent_s if health is None else now_s - sighting.health_heard_s
    known: dict[str, Any] = {
        "namespace": sighting.namespace,
        "level": "OK",
        "message": "",
        "silent_s": round(silent_s, 1),
    }
    if health is not None:
        known |= {
            "level": _LEVELS[min(int(health.level), 2)],
            "message": str(health.message),
            "state": str(health.lifecycle_state),
            "model": str(health.model),
            "runtime": str(health.runtime),
            "device": str(health.effective_device),
            "input_rate_hz": _number(health.input_rate_hz),
            "rate_hz": _number(health.rate_hz),
            "latency_ms": {
                "p50": _number(health.latency_p50_ms),
                "p95": _number(health.latency_p95_ms),
                "p99": _number(health.latency_p99_ms),
                "max": _number(health.latency_max_ms),
            },
            "received": int(health.received),
            "published": int(health.published),
            "dropped": {str(drop.reason): int(drop.count) for drop in health.dropped if drop.count},
            "rung": f"{health.rung} of {health.rung_count - 1}, {health.rung_name}" if health.rung_count else None,
            "resident_mib": round(int(health.resident_bytes) / 2**20, 1),
            "engine_reloads": int(health.engine_reloads),
        }
    if thermal is not None:
        is_alive = thermal_silent_s <= _SILENT_AFTER_S
        known["thermal"] = {
            "is_known": is_alive and bool(thermal.is_telemetry_available),
            "cpu_temperature_c": _number(thermal.cpu_temperature_c),
            "gpu_temperature_c": _number(thermal.gpu_temperature_c),
            "clock_mhz": _number(thermal.measured_clock_mhz),
            "is_throttling": bool(thermal.thermal_throttle_active),
            "cause": str(thermal.cause) if is_alive else f"nothing heard for {thermal_silent_s:.0f} s",
        }
    if silent_s > _SILENT_AFTER_S:
        known["level"] = "ERROR"
        known["message"] = f"nothing heard for {silent_s:.0f} s; check whether the process lives"
    return known


def _listen(watch: Any, wait_s: float) -> list[dict[str, Any]]:
    """Listen until a whole period of reports has passed, at most `wait_s`."""
    end_s = time.monotonic() + wait_s
    sightings = watch.spin(0.5)
    while time.monotonic() < end_s and not (sightings and all(item.health or item.thermal for item in sightings)):
        sightings = watch.spin(0.5)
    sightings = watch.spin(min(1.2, wait_s))
    return [figures(sighting, time.monotonic()) for sighting in sightings]


def _show(nodes: list[dict[str, Any]], options: argparse.Namespace) -> None:
    if options.json:
        say(json.dumps({"nodes": nodes}))
        return
    if not nodes:
        say("no node is heard; check ROS_DOMAIN_ID, and that one is started")
    for node in nodes:
        say(table(_rows(node)))
        say("")


def _rows(node: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [("namespace", node["namespace"]), ("health", " ".join((node["level"], node["message"])).strip())]
    if "state" in node:
        latency = node["latency_ms"]
        dropped = ", ".join(f"{reason} {count}" for reason, count in node["dropped"].items()) or "none"
        rows += [
            ("state", node["state"]),
            ("engine", f"{node['model']} on {node['runtime']}, {node['device']}" if node["model"] else "none"),
            ("rate in → out", f"{_text(node['input_rate_hz'])} → {_text(node['rate_hz'])} Hz"),
            ("latency p50 / p95 / p99", " / ".join(_text(latency[name]) for name in ("p50", "p95", "p99")) + " ms"),
            ("frames in → out", f"{node['received']} → {node['published']}"),
            ("dropped", dropped),
            ("ladder", node["rung"] or "none"),
            ("memory", f"{node['resident_mib']} MiB"),
        ]
    if "thermal" in node:
        rows.append(("temperature", _thermal_text(node["thermal"])))
    return rows


def _thermal_text(thermal: dict[str, Any]) -> str:
    if not thermal["is_known"]:
        return f"unknown ({thermal['cause']})"
    text = (
        f"CPU {_text(thermal['cpu_temperature_c'])} °C, GPU {_text(thermal['gpu_temperature_c'])} °C, "
        f"{_text(thermal['clock_mhz'])} MHz"
    )
    return f"{text}, THROTTLING: {thermal['cause']}" if thermal["is_throttling"] else text


def _live(watch: Any, period_s: float, console: Any = None) -> None:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.panel import Panel

    colors = {"OK": "green", "WARN": "yellow", "ERROR": "red"}
    with Live(console=console or Console(), auto_refresh=False, screen=True) as live:
        while True:
            nodes = [figures(sighting, time.monotonic()) for sighting in watch.spin(period_s)]
            panels = [
                Panel(table(_rows(node)), title=node["namespace"], border_style=colors[node["level"]]) for node in nodes
            ]
            live.update(Group(*panels) if panels else Panel("no node is heard yet"), refresh=True)


def _number(value: Any) -> float | None:
    return round(float(value), 2) if math.isfinite(value) else None


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
