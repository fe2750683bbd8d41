"""Entry points of the executables."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = [
    "debug_overlay_node",
    "inference_node",
    "matcher_node",
    "onnx_trt_ep_node",
    "place_recognition_node",
    "pytorch_fp16_node",
    "refinement_node",
    "tensorrt_node",
    "thermal_monitor_node",
]

EXIT_ENGINE_HUNG = 3
"""Exit status of a node whose engine hung again after it had been loaded anew: a supervisor should start it again."""

_FAILED_CLEANUP_S, _CLEANUP_S = 10.0, 300.0
"""A clean-up that takes longer hangs; the second holds several engines' longest `deactivate_timeout_s`."""

_POLL_S = 1.0
"""How often the executor's wait is left to look whether the node wants to end. A signal wakes it."""


def inference_node(args: list[str] | None = None) -> int:
    """Run the node with the runtime of its parameters. Returns the exit status."""
    return _run("inference_node", lambda: _inference("inference_node", None), args)


def pytorch_fp16_node(args: list[str] | None = None) -> int:
    """Run the node with the runtime preset to pytorch_fp16."""
    return _run("pytorch_fp16_node", lambda: _inference("pytorch_fp16_node", "pytorch_fp16"), args)


def tensorrt_node(args: list[str] | None = None) -> int:
    """Run the node with the runtime preset to tensorrt."""
    return _run("tensorrt_node", lambda: _inference("tensorrt_node", "tensorrt"), args)


def onnx_trt_ep_node(args: list[str] | None = None) -> int:
    """Run the node with the runtime preset to onnx_trt_ep."""
    return _run("onnx_trt_ep_node", lambda: _inference("onnx_trt_ep_node", "onnx_trt_ep"), args)


def thermal_monitor_node(args: list[str] | None = None) -> int:
    """Run the node that publishes the thermal state alone."""
    return _run("thermal_monitor_node", _thermal_monitor, args)


def place_recognition_node(args: list[str] | None = None) -> int:
    """Run the node that looks descriptors up in a map's index."""
    return _run("place_recognition_node", _place_recognition, args)


def matcher_node(args: list[str] | None = None) -> int:
    """Run the node that matches local features."""
    return _run("matcher_node", _matcher, args)


def refinement_node(args: list[str] | None = None) -> int:
    """Run the node that matches images with the picture of the map."""
    return _run("refinement_node", _refinement, args)


def debug_overlay_node(args: list[str] | None = None) -> int:
    """Run the node that draws what was found."""
    return _run("debug_overlay_node", _debug_overlay, args)


def _debug_overlay() -> Any:
    from gps_denied_inference.ros.debug_overlay_node import DebugOverlayNode

    return DebugOverlayNode()


def _place_recognition() -> Any:
    from gps_denied_inference.ros.place_recognition_node import PlaceRecognitionNode

    return PlaceRecognitionNode()


def _matcher() -> Any:
    from gps_denied_inference.ros.matcher_node import MatcherNode

    return MatcherNode()


def _refinement() -> Any:
    from gps_denied_inference.ros.refinement_node import RefinementNode

    return RefinementNode()


def _inference(name: str, runtime_preset: str | None) -> Any:
    from gps_denied_inference.ros.inference_node import InferenceNode

    return InferenceNode(name, runtime_preset=runtime_preset)


def _thermal_monitor() -> Any:
    from gps_denied_inference.ros.thermal_monitor_node import ThermalMonitorNode

    return ThermalMonitorNode()


def _run(name: str, make_node: Callable[[], Any], args: list[str] | None) -> int:
    from gps_denied_inference.ros.allocator import keep_large_buffers

    keep_large_buffers()
    # Before the imports, which take a second: a signal that comes early must end in exit status 0 too.
    stop_requested = threading.Event()

    def request_stop(_number: int, _frame: FrameType | None) -> None:
        stop_requested.set()

    signal.signal(signal.SIGINT, request_stop)
    signal.signal(signal.SIGTERM, request_stop)

    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    from gps_denied_inference.core.errors import GpsDeniedInferenceError
    from gps_denied_inference.ros.signal_wake import wake_on_signals

    # rclpy's own handlers would shut the context down under a frame that is about to be published.
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # rcl's own, of a private module: a parameter file that is no YAML, a malformed remap
        print(f"{name}: the ROS arguments cannot be read: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    node: Any = None

    def exit_reason() -> str:
        return str(getattr(node, "exit_reason", ""))

    executor: Any = None
    end_wake: Callable[[], None] = _nothing
    try:
        node = make_node()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        end_wake = wake_on_signals(executor)
        while rclpy.ok() and not stop_requested.is_set() and not exit_reason():
            executor.spin_once(timeout_sec=_POLL_S)
    except GpsDeniedInferenceError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    finally:
        # Python's end, which takes a second with torch, gives other handlers back to the default, and Ctrl-C comes
        # twice, from the terminal and from `ros2 launch`: the second would end the node with status -2.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end_wake()
        is_failed = bool(exit_reason())
        # What hangs may hang the clean-up, too.
        _exit_after(_FAILED_CLEANUP_S if is_failed else _CLEANUP_S)
        if node is not None:
            node.close()
            if executor is not None:
                executor.remove_node(node)
            node.destroy_node()
        rclpy.try_shutdown()
    # Nothing is left to close, and looking for cycles among torch's objects takes half a second.
    gc.freeze()
    if is_failed:
        # Python's own end would wait for native threads, one of which does not return.
        sys.stderr.flush()
        os._exit(EXIT_ENGINE_HUNG)
    return 0


def _nothing() -> None:
    """Before there is an executor to wake."""


def _exit_after(seconds: float) -> None:
    timer = threading.Timer(seconds, os._exit, (EXIT_ENGINE_HUNG,))
    timer.daemon = True
    timer.start()
