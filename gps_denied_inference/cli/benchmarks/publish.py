"""Part (d): a descriptor into a message, and out, against one memcpy of its values. Needs ROS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.cli.benchmarks.measurement import (
    BenchPlan,
    Comparison,
    Contender,
    PartReport,
    Role,
    Row,
    in_turn,
)

__all__ = ["fill_and_publish", "measure"]

_AIMS_MS = {8_448: 0.02, 262_144: 0.15}


def measure(plan: BenchPlan) -> PartReport:
    """Fill alone, and fill with publish, for both sizes."""
    comparisons = []
    with _publisher() as publisher:
        for count, aim_ms in _AIMS_MS.items():
            values = _values(count)
            aim = f"aim ≤ {aim_ms} ms"
            fill = in_turn(_contenders(values, lambda message: message), plan)
            out = in_turn(_contenders(values, publisher.publish), plan)
            comparisons.append(Comparison(f"fill, {count} floats", "ms", fill, aim=aim))
            comparisons.append(Comparison(f"fill and publish, {count} floats", "ms", out, aim=aim))
    return PartReport("d", "publish", "publish", tuple(comparisons))


def fill_and_publish(count: int, plan: BenchPlan) -> dict[Role, Row]:
    """One row a role, for another part of the benchmark."""
    with _publisher() as publisher:
        return {row.role: row for row in in_turn(_contenders(_values(count), publisher.publish), plan)}


def _values(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(count).astype(np.float32)


@contextmanager
def _publisher() -> Iterator[Any]:
    import rclpy
    from rclpy.context import Context
    from rclpy.node import Node

    from gps_denied_inference.msg import GlobalDescriptor

    context = Context()
    rclpy.init(context=context)
    node = Node("gdi_bench_publish", context=context)
    try:
        yield node.create_publisher(GlobalDescriptor, "gdi_bench_descriptor", 1)
    finally:
        node.destroy_node()
        rclpy.try_shutdown(context=context)


def _contenders(values: NDArray[np.float32], finish: Callable[[Any], object]) -> tuple[Contender, ...]:
    """Ways to make a message and hand it to `finish`."""
    from gps_denied_inference.msg import GlobalDescriptor
    from gps_denied_inference.ros.message_factory import RclpyMessageFactory

    factory, copy = RclpyMessageFactory(), np.empty_like(values)

    def ours() -> object:
        return finish(factory.make("GlobalDescriptor", dimension=values.size, values=factory.floats(values)))

    def with_setter() -> object:
        return finish(GlobalDescriptor(dimension=values.size, values=values))

    def with_list() -> object:
        return finish(GlobalDescriptor(dimension=values.size, values=values.tolist()))

    return (
        Contender(Role.LIMIT, "memcpy of the values", lambda: np.copyto(copy, values)),
        Contender(Role.OURS, "through the buffer protocol", ours),
        Contender(Role.BASELINE, "message.values = numpy array", with_setter),
        Contender(Role.ALTERNATIVE, "message.values = list", with_list),
    )
