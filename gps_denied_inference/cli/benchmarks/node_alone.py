"""Part (e), step by step: what the node itself does for a frame, without transport, sender and network. Needs ROS."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from gps_denied_inference.cli.benchmarks import publish, receive
from gps_denied_inference.cli.benchmarks.measurement import (
    BenchPlan,
    Comparison,
    Contender,
    Role,
    Row,
    in_turn,
    row_of,
)
from gps_denied_inference.cli.benchmarks.torch_threads import one_torch_thread
from gps_denied_inference.cli.benchmarks.traffic import Answer, Traffic
from gps_denied_inference.core.contracts import ColorSpace, PreprocessSpec
from gps_denied_inference.core.imaging import Preprocessor

__all__ = ["measure"]

_DIMENSION = 448


def measure(plan: BenchPlan, ours: Traffic, naive: Traffic, shape: tuple[int, int, int]) -> Comparison:
    """Sum of the medians of the steps.

    Args:
        plan: repetitions of the steps that are measured here.
        ours, naive: runs of whole nodes, whose answers tell the steps between reception and postprocessing.
        shape: of their images. Take and publish are measured by themselves: a node cannot time them.
    """
    taken = receive.take_ms(shape, plan)
    published = publish.fill_and_publish(_DIMENSION, plan)
    our_steps = {
        "take": taken.ours,
        "wait": _stage(ours, "wait_ms"),
        "decode": _stage(ours, "decode_ms"),
        "preprocess": _stage(ours, "preprocess_ms"),
        "postprocess": _stage(ours, "postprocess_ms"),
        "publish": published[Role.OURS],
    }
    naive_steps = {
        "take": taken.baseline,
        "callback": row_of(Role.BASELINE, "callback", naive.inside_ms()),
        "publish": published[Role.BASELINE],
    }
    rows = (
        _limit(plan, shape),
        _sum(Role.OURS, "our node: take, wait, decode, preprocess, postprocess, publish", our_steps),
        _sum(Role.BASELINE, "naive node: take, callback, publish", naive_steps),
    )
    return Comparison("the node alone, steps added up", "ms", rows, aim="aim ≤ 2.5 ms")


def _stage(traffic: Traffic, name: str) -> Row:
    return row_of(Role.OURS, name, [_value(answer, name) for answer in traffic.answers])


def _value(answer: Answer, name: str) -> float:
    return float(getattr(answer, name))


def _sum(role: Role, name: str, steps: Mapping[str, Row]) -> Row:
    facts = {step: round(row.median, 3) for step, row in steps.items()}
    noise = math.sqrt(sum(row.noise**2 for row in steps.values()))
    count = min(row.count for row in steps.values())
    return Row(role, name, sum(row.median for row in steps.values()), noise, count, facts)


def _limit(plan: BenchPlan, shape: tuple[int, int, int]) -> Row:
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    received = np.empty_like(image)
    preprocessor = Preprocessor(PreprocessSpec(224, 224, ColorSpace.RGB, (127.0,) * 3, (128.0,) * 3))

    def run() -> None:
        np.copyto(received, image)
        preprocessor.prepare(received)

    with one_torch_thread():
        (row,) = in_turn([Contender(Role.LIMIT, "one copy of the frame and its preprocessing", run)], plan)
    return row
