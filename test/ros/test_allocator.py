"""Set up in a process of its own: the allocator cannot be set back."""

import os
import subprocess
import sys

import pytest

_FAULTS_OF_A_LARGE_BUFFER = """
import resource, sys
import numpy as np
from gps_denied_inference.ros.allocator import keep_large_buffers
if sys.argv[1] == "kept":
    assert keep_large_buffers()
def use(): np.ones(8_000_000, np.uint8)
use(); use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10): use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(
    not hasattr(os, "confstr") or "glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or ""), reason="not glibc"
)
def test_freed_buffers_stay_with_the_process() -> None:
    def faults(mode: str) -> int:
        command = [sys.executable, "-c", _FAULTS_OF_A_LARGE_BUFFER, mode]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert faults("kept") < 200
    # Transparent huge pages take fewer and larger ones.
    assert faults("default") >= faults("kept")


def test_choice_of_the_user_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    from gps_denied_inference.ros.allocator import keep_large_buffers

    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    assert not keep_large_buffers()
