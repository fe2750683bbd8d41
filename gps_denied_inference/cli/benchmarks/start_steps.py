"""The inference node with a clock on the steps of its start: `python -m ...start_steps FILE` writes seconds by step.

Steps exclude one another: an import inside of loading counts as import. All happen on the main thread.
"""

from __future__ import annotations

import atexit
import builtins
import functools
import importlib
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["StepClock"]


class StepClock:
    """Seconds by step; inner steps are taken out of the outer one.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._clock = clock
        self._open: list[str] = []
        self._since = clock()

    def timed(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, timed. A step inside of the same step is one step."""

        @functools.wraps(function)
        def run(*arguments: Any, **options: Any) -> Any:
            if self._open and self._open[-1] == step:
                return function(*arguments, **options)
            self._charge()
            self._open.append(step)
            try:
                return function(*arguments, **options)
            finally:
                self._charge()
                self._open.pop()

        return run

    def _charge(self) -> None:
        now = self._clock()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now


def main(path: Path) -> int:
    """Run the node; what was measured is written when it ends."""
    begun = time.monotonic()
    clock = StepClock()
    builtins.__import__ = clock.timed("imports", builtins.__import__)
    importlib.import_module = clock.timed("imports", importlib.import_module)

    from gps_denied_inference.core import assembly
    from gps_denied_inference.core.pipeline import Pipeline
    from gps_denied_inference.core.runtime.onnx_network import OnnxNetwork
    from gps_denied_inference.core.runtime.onnx_trt_ep import OnnxTrtEpRuntime
    from gps_denied_inference.ros.main import inference_node

    for step, owner, name in (
        ("gate", assembly, "choose_engine"),
        ("load", OnnxTrtEpRuntime, "deserialize_engine"),
        ("golden", assembly, "_checked_fidelity"),
        ("warm", OnnxNetwork, "warm_up"),
        ("warm", Pipeline, "warm_up"),
    ):
        setattr(owner, name, clock.timed(step, getattr(owner, name)))
    atexit.register(lambda: path.write_text(json.dumps({"begun": begun, "seconds": clock.seconds})))
    return inference_node(sys.argv)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv.pop(1))))
