"""A node of ours in the test's own process, for what another process would not show."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import rclpy
from rclpy.executors import SingleThreadedExecutor

__all__ = ["local_node"]

_Node = TypeVar("_Node", bound=Any)


@contextmanager
def local_node(kind: Callable[..., _Node], domain_id: int, *parameters: str, **options: Any) -> Iterator[_Node]:
    """Yield a node with a `close` that an executor of its own spins on a thread of its own.

    Args:
        parameters: `name:=value`, as on the command line.
        options: of the node's constructor.
    """
    context = rclpy.Context()
    arguments = [item for parameter in parameters for item in ("-p", parameter)]
    rclpy.init(context=context, domain_id=domain_id, args=["--ros-args", *arguments])
    try:
        node = kind(context=context, **options)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        is_ended = threading.Event()

        def spin() -> None:
            while not is_ended.is_set():
                executor.spin_once(timeout_sec=0.05)

        thread = threading.Thread(target=spin, daemon=True)
        thread.start()
        try:
            yield node
        finally:
            is_ended.set()
            thread.join()
            executor.remove_node(node)
            node.close()
            node.destroy_node()
    finally:
        rclpy.shutdown(context=context)
