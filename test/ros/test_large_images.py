"""Large images over DDS between two processes: none is lost, and none makes the node ask the kernel for memory."""

from __future__ import annotations

import os
from pathlib import Path

from gps_denied_inference.cli.benchmarks import nodes
from gps_denied_inference.cli.benchmarks.traffic import Camera, run_traffic

_PAGES_OF_A_FRAME = 1080 * 1920 * 3 // os.sysconf("SC_PAGE_SIZE")


def _minor_faults(pid: int) -> int:
    """proc(5): field 10 of `stat`."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])


def test_every_frame_of_1080p_is_answered_best_effort_and_the_node_keeps_its_buffers(tmp_path: Path) -> None:
    # Each when the last was answered: a busy machine makes it slower, and loses none.
    camera = Camera(1080, 1920, "rgb8", 0.0, 20, False)
    with (
        nodes.room(tmp_path, has_profile=True) as room,
        nodes.our_node(nodes.fake_parameters(tmp_path, 1.0), room) as node,
    ):
        first = run_traffic(camera, node.pid, room.environment)
        before = _minor_faults(node.pid)
        second = run_traffic(camera, node.pid, room.environment)
        faults = _minor_faults(node.pid) - before
    assert [len(run.answers) for run in (first, second)] == [camera.count] * 2
    # With glibc's own thresholds each take alone touches every page of the frame anew.
    assert faults < camera.count * _PAGES_OF_A_FRAME / 4
