"""A real node in a process of its own, and a client that talks to it over DDS."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from ament_index_python.packages import get_package_prefix
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from numpy.typing import NDArray
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

import gps_denied_inference.msg as messages
from gps_denied_inference.ros.qos import LATCHED

__all__ = [
    "TIMEOUT_S",
    "Client",
    "NodeLauncher",
    "NodeProcess",
    "client_in_domain",
    "compressed_message",
    "image_message",
    "wait_for",
]

_END_S = 5.0
TIMEOUT_S = 60.0
"""Generous: two shared cores, and torch takes seconds to import."""


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = TIMEOUT_S) -> Any:
    """Return the first truthy value of `condition`, or fail naming `what`.

    A condition may look at the last message of a list before the first one has come: that is not yet true.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with suppress(IndexError):
            value = condition()
            if value:
                return value
        time.sleep(0.02)
    raise AssertionError(f"waited {timeout_s:g} s for {what}")


def image_message(pixels_hwc: NDArray[Any], encoding: str, stamp_ns: int, frame_id: str = "camera_optical") -> Image:
    """Return a `sensor_msgs/Image` of an array (H, W) or (H, W, C)."""
    pixels = np.ascontiguousarray(pixels_hwc)
    message = Image(
        header=_header(stamp_ns, frame_id),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        step=pixels.nbytes // pixels.shape[0],
    )
    message._data.frombytes(pixels.tobytes())
    return message


def compressed_message(data: bytes, image_format: str, stamp_ns: int) -> CompressedImage:
    message = CompressedImage(header=_header(stamp_ns, "camera_optical"), format=image_format)
    message._data.frombytes(data)
    return message


def _header(stamp_ns: int, frame_id: str) -> Header:
    return Header(stamp=Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9), frame_id=frame_id)


class NodeProcess:
    """One of the package's executables, started as `ros2 launch` would start it."""

    def __init__(self, process: subprocess.Popen[bytes], log_path: Path) -> None:
        self.process = process
        self.log_path = log_path

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_for_log(self, text: str, timeout_s: float = TIMEOUT_S) -> str:
        """Return the whole log once it holds `text`."""
        try:
            return str(wait_for(lambda: self.log if text in self.log else "", f"'{text}' in the log", timeout_s))
        except AssertionError as error:
            raise AssertionError(f"{error}; the log is:\n{self.log}") from None

    def end(self, number: signal.Signals = signal.SIGINT, timeout_s: float = 30.0) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(timeout_s)

    def resident_bytes(self) -> int:
        fields = Path(f"/proc/{self.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


class NodeLauncher:
    """Starts executables in one domain and ends what is left."""

    def __init__(self, domain_id: int, folder: Path) -> None:
        self._domain_id = domain_id
        self._folder = folder
        self._started: list[NodeProcess] = []

    def start(
        self,
        *parameters: str,
        executable: str = "inference_node",
        namespace: str = "",
        remaps: tuple[str, ...] = (),
        params_file: Path | None = None,
        environment: dict[str, str] | None = None,
        preexec: Callable[[], None] | None = None,
    ) -> NodeProcess:
        """Start an executable.

        Args:
            parameters: `name:=value`, as on the command line.
            preexec: called in the new process before it becomes the node: for limits.
        """
        prefix = get_package_prefix("gps_denied_inference")
        command = [f"{prefix}/lib/gps_denied_inference/{executable}", "--ros-args"]
        if namespace:
            command += ["-r", f"__ns:={namespace}"]
        for remap in remaps:
            command += ["-r", remap]
        if params_file is not None:
            command += ["--params-file", str(params_file)]
        for parameter in parameters:
            command += ["-p", parameter]
        log_path = self._folder / f"node_{len(self._started)}.log"
        variables = {**os.environ, "ROS_DOMAIN_ID": str(self._domain_id), "ROS_LOG_DIR": str(self._folder)}
        variables["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, env=variables | (environment or {}), preexec_fn=preexec
            )
        node = NodeProcess(process, log_path)
        self._started.append(node)
        return node

    def end_all(self) -> None:
        """End what still runs: with a signal, so that no port in shared memory stays behind; what hangs is killed."""
        for node in self._started:
            if node.process.poll() is None:
                node.process.terminate()
        for node in self._started:
            try:
                node.process.wait(_END_S)
            except subprocess.TimeoutExpired:
                node.process.kill()
                node.process.wait()


class Client:
    """Everything a test wants of a node, over DDS. Spins on a thread of its own."""

    def __init__(self, domain_id: int) -> None:
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        self.domain_id = domain_id
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain_id)
        self.node = rclpy.create_node("test_client", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._clients: dict[str, Any] = {}
        self._is_running = True
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._is_running = False
        self._thread.join()
        self._executor.remove_node(self.node)
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def collect(self, kind: Any, topic: str, qos: Any = 1000) -> list[Any]:
        """Return a list that fills with the messages of a topic."""
        received: list[Any] = []
        self.node.create_subscription(kind, topic, received.append, qos)
        return received

    def features(self, namespace: str = "") -> list[Any]:
        return self.collect(messages.GlobalDescriptor, f"{namespace}/global_descriptor")

    def health(self, namespace: str = "") -> list[Any]:
        return self.collect(messages.EngineHealth, f"{namespace}/engine_health")

    def model_info(self, namespace: str = "") -> list[Any]:
        return self.collect(messages.ModelInfo, f"{namespace}/model_info", LATCHED)

    def diagnostics(self) -> list[Any]:
        return self.collect(DiagnosticArray, "/diagnostics")

    def image_publisher(
        self, topic: str = "/image", kind: Any = Image, *, is_reliable: bool = True, node_qos: QoSProfile | None = None
    ) -> Any:
        """Return a publisher that has a subscriber."""
        reliability = ReliabilityPolicy.RELIABLE if is_reliable else ReliabilityPolicy.BEST_EFFORT
        publisher = self.node.create_publisher(kind, topic, node_qos or QoSProfile(depth=1, reliability=reliability))
        wait_for(lambda: publisher.get_subscription_count() > 0, f"a subscriber of {topic}")
        for subscriber in self.node.get_subscriptions_info_by_topic(topic):
            if subscriber.node_name != self.node.get_name():
                self.await_seen_by(f"{subscriber.node_namespace.rstrip('/')}/{subscriber.node_name}")
        return publisher

    def await_seen_by(self, node: str) -> None:
        """Wait until a node has matched every endpoint that this client has made so far.

        DDS endpoints match one side after the other, and only this side's match is visible: what is sent in between is
        lost. They are announced in order, and reliably: a node that answers to what was made last has seen the rest.
        """
        probe = self.node.create_client(GetParameters, f"{node}/get_parameters")

        def is_answered() -> bool:
            return bool(probe.wait_for_service(1.0) and self._ask(probe, GetParameters.Request(), 1.0).done())

        wait_for(is_answered, f"an answer of {node}")

    def call(self, kind: Any, name: str, request: Any, timeout_s: float = TIMEOUT_S) -> Any:
        """Call a service and return its answer."""
        if name not in self._clients:
            self._clients[name] = self.node.create_client(kind, name)
        if not self._clients[name].service_is_ready():
            assert self._clients[name].wait_for_service(timeout_s), f"no service {name}"
            self.await_seen_by(name.rpartition("/")[0])
        future = self._ask(self._clients[name], request, timeout_s)
        assert future.done(), f"waited {timeout_s:g} s for an answer of {name}"
        return future.result()

    @staticmethod
    def _ask(client: Any, request: Any, timeout_s: float) -> Any:
        future = client.call_async(request)
        is_done = threading.Event()
        future.add_done_callback(lambda _: is_done.set())
        is_done.wait(timeout_s)
        return future

    def change_state(self, transition: str, node: str = "/inference_node") -> bool:
        """Ask for a transition by its name, e.g. `configure`."""
        number = {
            "configure": Transition.TRANSITION_CONFIGURE,
            "activate": Transition.TRANSITION_ACTIVATE,
            "deactivate": Transition.TRANSITION_DEACTIVATE,
            "cleanup": Transition.TRANSITION_CLEANUP,
        }[transition]
        return self.change_state_by_id(number, node)

    def change_state_by_id(self, number: int, node: str = "/inference_node") -> bool:
        request = ChangeState.Request(transition=Transition(id=number))
        return bool(self.call(ChangeState, f"{node}/change_state", request).success)

    def state(self, node: str = "/inference_node") -> str:
        """Return the lifecycle state.

        Asked again where no answer comes: for 20 s a killed node's services still look alive, and a request that is
        sent before the new ones are found goes to the dead.
        """

        def answer() -> str:
            try:
                response = self.call(GetState, f"{node}/get_state", GetState.Request(), timeout_s=5.0)
            except AssertionError:
                return ""
            return str(response.current_state.label)

        return str(wait_for(answer, f"the state of {node}"))

    def bring_up(self, node: str = "/inference_node") -> None:
        assert self.change_state("configure", node), "configure failed"
        assert self.change_state("activate", node), "activate failed"

    def set_parameter(self, name: str, value: Any, node: str = "/inference_node") -> tuple[bool, str]:
        """Set a parameter; returns whether it was taken and the reason when not."""
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        result = self.call(SetParameters, f"{node}/set_parameters", request).results[0]
        return bool(result.successful), str(result.reason)

    def describe_parameters(self, names: list[str], node: str = "/inference_node") -> list[Any]:
        request = DescribeParameters.Request(names=names)
        return list(self.call(DescribeParameters, f"{node}/describe_parameters", request).descriptors)

    def _spin(self) -> None:
        while self._is_running:
            self._executor.spin_once(timeout_sec=0.05)


@contextmanager
def client_in_domain(domain_id: int) -> Iterator[Client]:
    client = Client(domain_id)
    try:
        yield client
    finally:
        client.close()
