"""What `gdi doctor` says of ROS and of the shared memory that its messages travel through."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path

from gps_denied_inference.cli.checks import Check, Level

__all__ = ["check_discovery", "check_ros", "check_shared_memory"]

_SMALL_SHARED_MEMORY_BYTES = 256 * 1024**2
_PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")


def check_ros(environment: Mapping[str, str] = os.environ) -> Check:
    """Import rclpy and our messages."""
    try:
        importlib.import_module("rclpy")
    except Exception as error:  # a half-sourced ROS fails in many ways
        return Check(
            "ROS",
            Level.WARN,
            f"rclpy cannot be imported ({type(error).__name__}: {error}): only gdi works, no node; source ROS 2 Jazzy "
            "or run 'make setup' and '. ./env.sh'",
        )
    try:
        importlib.import_module("gps_denied_inference.msg")
    except Exception as error:
        return Check(
            "ROS",
            Level.WARN,
            f"rclpy is there, our messages are not ({error}); build the package and source its workspace",
        )
    distribution = environment.get("ROS_DISTRO", "") or "unnamed distribution"
    rmw = environment.get("RMW_IMPLEMENTATION", "") or "rmw_fastrtps_cpp (default)"
    return Check("ROS", Level.OK, f"{distribution}, {rmw}, messages built")


def check_discovery(environment: Mapping[str, str] = os.environ) -> Check:
    """Show who the node will talk to."""
    domain = environment.get("ROS_DOMAIN_ID", "") or "0"
    reach = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "") or "SUBNET"
    profiles = [(name, Path(environment[name])) for name in _PROFILE_VARIABLES if environment.get(name, "").strip()]
    for name, path in profiles:
        if not path.is_file():
            return Check("DDS and QoS", Level.FAIL, f"{name} names {path}, which does not exist; correct or unset it")
    text = f"domain {domain}, discovery {reach}, "
    if profiles:
        return Check("DDS and QoS", Level.OK, text + f"Fast DDS profile {profiles[0][1]}")
    return Check(
        "DDS and QoS",
        Level.WARN,
        text + "no Fast DDS profile: raw images above about 500 KB get lost on best-effort topics; set "
        "FASTRTPS_DEFAULT_PROFILES_FILE to config/fast_dds_large_images.xml for the camera's process (a larger "
        "shared-memory segment), or input_reliability: reliable or image_transport: compressed",
    )


def check_shared_memory(folder: Path = Path("/dev/shm")) -> Check:
    """Look at the room for DDS segments, and at what killed processes left there."""
    try:
        room = os.statvfs(folder)
    except OSError as error:
        return Check("shared memory", Level.WARN, f"{folder}: {error.strerror}; DDS then sends through UDP")
    size, free = room.f_frsize * room.f_blocks, room.f_frsize * room.f_bavail
    segments = sum(1 for path in folder.iterdir() if path.name.startswith(("fastrtps_", "fastdds_")))
    text = f"{folder} has {size / 1024**2:.0f} MiB, {free / 1024**2:.0f} free, {segments} DDS files"
    if min(size, free) < _SMALL_SHARED_MEMORY_BYTES:
        advice = "give it 256 MiB or more, and remove what killed processes left with 'fastdds shm clean'"
        return Check("shared memory", Level.WARN, f"{text}: {advice}")
    return Check("shared memory", Level.OK, text)
