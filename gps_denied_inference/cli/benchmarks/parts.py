"""The parts of the benchmark, by name. Each is imported when it runs: a part may need ROS, torch or a GPU."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from gps_denied_inference.cli.benchmarks.measurement import BenchPlan, PartReport

__all__ = ["PARTS", "Part"]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the benchmark.

    Attributes:
        letter, name: of the part.
        title: what it measures.
        module: with `measure(plan) -> (comparisons, notes)`.
        has_gpu_form: it measures something of its own on a GPU.
    """

    letter: str
    name: str
    title: str
    module: str
    has_gpu_form: bool = False

    def measure(self, plan: BenchPlan) -> PartReport:
        """Run the part."""
        module = importlib.import_module(f"gps_denied_inference.cli.benchmarks.{self.module}")
        function: Callable[[BenchPlan], PartReport] = module.measure
        return function(plan)


PARTS = (
    Part("a", "receive", "take a raw image from DDS to numpy", "receive"),
    Part("b", "preprocess", "image to network input", "preprocess", has_gpu_form=True),
    Part("c", "infer", "infer against the bare call of its backend", "network_call", has_gpu_form=True),
    Part("d", "publish", "numpy to a message, and out", "publish"),
    Part("e", "node", "whole nodes over DDS at 30 Hz", "whole_node", has_gpu_form=True),
    Part("f", "overload", "age of the answers under overload", "overload"),
    Part("g", "cold-start", "start of the process to active, by step", "cold_start"),
    Part("h", "memory", "memory after loading and after many frames", "memory", has_gpu_form=True),
    Part("i", "map", "tiles a second when a map is embedded", "map_embedding"),
    Part("j", "gate", "an engine through the gate", "gate"),
)
