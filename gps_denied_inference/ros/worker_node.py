"""A lifecycle node that takes messages of other nodes, works on the newest, and publishes what comes of it."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from rclpy.clock import Clock, ClockType

from gps_denied_inference.core.contracts import DropReason, StageTimings
from gps_denied_inference.core.errors import GpsDeniedInferenceError
from gps_denied_inference.core.health import (
    MessageReading,
    RecentCounts,
    TaskStatus,
    message_status,
    node_status,
)
from gps_denied_inference.core.pipeline import FrameCounts, FrameLedger, LatencyWindow, NewestWorker, Processor
from gps_denied_inference.ros.diagnostics import DiagnosticsPublisher
from gps_denied_inference.ros.guarded_lifecycle_node import GuardedLifecycleNode
from gps_denied_inference.ros.log_bridge import LogBridge
from gps_denied_inference.ros.message_factory import RclpyMessageFactory
from gps_denied_inference.ros.parameters import NodeParameters
from gps_denied_inference.ros.qos import features_qos, image_qos

__all__ = ["WorkerNode"]

_WINDOW_S = 2.0
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class WorkerNode(GuardedLifecycleNode, Generic[_Item, _Result]):
    """Subclasses load the processor, subscribe, and turn results into messages.

    Args:
        name: of the node, unless remapped.
        task: of the diagnostics, for the work on messages.
        resource_task: of the diagnostics, for what was loaded.
    """

    def __init__(self, name: str, *, task: str, resource_task: str, **node_options: Any) -> None:
        super().__init__(name, **node_options)
        self._node_parameters = self._declare_parameters()
        self._factory = RclpyMessageFactory()
        self._log_bridge = LogBridge(self.get_logger())
        self._log_bridge.install(is_debug=False)
        self._task = task
        self._ledger = FrameLedger()
        self._latency = LatencyWindow()
        self._worker: NewestWorker[_Item, _Result] | None = None
        self._is_hung = False
        """The network did not return: what it uses cannot be given back."""
        self._result_publisher: Any = None
        self._inputs: list[Any] = []
        self._last_received_ns: int | None = None
        self._last_error = ""
        self._window = RecentCounts(_WINDOW_S)
        self._diagnostics = DiagnosticsPublisher(self, (resource_task, task, *self._more_tasks, "node"))
        self._steady_clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._report_timer: Any = None
        self._create_report_timer()

    # What a subclass brings.

    _is_unpaired_normal = False
    """What belongs to a message comes for some of them only, and nothing is wrong."""

    _more_tasks: tuple[str, ...] = ()
    """Of the diagnostics, beside those that all have."""

    @abstractmethod
    def _declare_parameters(self) -> NodeParameters:
        """Declare the parameters, `WORKER_FIELDS` among them."""

    @abstractmethod
    def _load(self) -> Processor[_Item, _Result]:
        """Load what the work needs; may raise an error of the family."""

    @abstractmethod
    def _unload(self) -> None:
        """Give back what was loaded. Idempotent."""

    @abstractmethod
    def _subscribe(self) -> None:
        """Subscribe, with `_listen`; the first subscription is the one whose silence is told."""

    @property
    @abstractmethod
    def _output(self) -> tuple[Any, str]:
        """Type and topic of the results."""

    @abstractmethod
    def _message(self, result: _Result, dropped: Mapping[DropReason, int]) -> Any:
        """Return the message of a result. On the worker's thread."""

    @abstractmethod
    def _timings(self, result: _Result) -> StageTimings: ...

    @abstractmethod
    def _resource_status(self) -> TaskStatus:
        """Judge what was loaded."""

    def _more_statuses(self) -> Sequence[TaskStatus]:
        """Judge what `_more_tasks` are of."""
        return ()

    def _tell(self, statuses: Sequence[TaskStatus]) -> None:
        """Tell the same elsewhere than on /diagnostics. With each report."""

    # The steps of the lifecycle.

    @property
    def is_bond_enabled(self) -> bool:
        return self._node_parameters.flag("bond_enabled")

    def configure(self) -> None:
        parameters = self._node_parameters
        processor = self._load()
        self._ledger, self._latency, self._last_error = FrameLedger(), LatencyWindow(), ""
        self._window, self._last_received_ns = RecentCounts(_WINDOW_S), None
        self._worker = NewestWorker(
            processor,
            self._ledger,
            max_frame_age_ms=parameters.number("max_frame_age_ms"),
            publish=self._publish,
            on_error=self._on_error,
            on_late_return=self._on_late_return,
        )
        kind, topic = self._output
        qos = features_qos(parameters.text("output_reliability"), parameters.count("output_depth"))
        self._result_publisher = self.create_lifecycle_publisher(kind, topic, qos)
        self._create_report_timer()
        self._subscribe()
        parameters.is_configured = True

    def activate(self) -> None:
        assert self._worker is not None
        self._worker.start()

    def deactivate(self) -> None:
        if self._worker is not None:
            self._worker.stop(self._node_parameters.number("deactivate_timeout_s"))

    def release(self) -> None:
        self._node_parameters.is_configured = False
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs.clear()
        self._is_hung = self._worker is not None and self._worker.abandon()
        self._worker = None
        self._unload()
        if self._result_publisher is not None:
            self.destroy_lifecycle_publisher(self._result_publisher)
            self._result_publisher = None

    def close(self) -> None:
        """Stop working and give everything back, whatever the state. For the end of the process."""
        try:
            self.deactivate()
        except GpsDeniedInferenceError as error:
            self.get_logger().error(str(error))
        self.release()
        self._log_bridge.remove()

    def _listen(self, kind: Any, topic: str, callback: Any, qos: Any = None) -> None:
        parameters = self._node_parameters
        if qos is None:
            qos = image_qos(parameters.text("input_reliability"), parameters.count("input_depth"))
        self._inputs.append(self.create_subscription(kind, topic, callback, qos))

    def _submit(self, item: _Item, received_ns: int | None = None) -> None:
        """Hand a message to the worker.

        Args:
            received_ns: when it came, where it waited for another one before; now, when None.
        """
        assert self._worker is not None
        if received_ns is None:
            received_ns = self._last_received_ns = time.monotonic_ns()
        self._worker.submit(item, received_ns)

    def _count_out(self, count: int, reason: DropReason) -> None:
        """Count messages that never went to the worker."""
        for _ in range(count):
            self._ledger.receive()
            self._ledger.drop(reason)

    def _counts(self) -> FrameCounts:
        """What became of the messages. On the executor's thread."""
        return self._ledger.counts()

    # On the worker's thread.

    def _publish(self, result: _Result) -> None:
        dropped = self._ledger.take_dropped_since_last()
        try:
            self._result_publisher.publish(self._message(result, dropped))
        except Exception:
            self._ledger.return_dropped(dropped)
            raise
        self._latency.add(self._timings(result))

    def _on_error(self, reason: DropReason, error: Exception) -> None:
        self._last_error = str(error)
        self.get_logger().error(f"message dropped ({reason.value}): {error}", throttle_duration_sec=5.0)

    def _on_late_return(self, processor: Processor[_Item, _Result]) -> None:
        """Give back what a call held that was abandoned and returned after all. On its thread."""

    # Reports, on the executor's thread.

    def _create_report_timer(self) -> None:
        if self._report_timer is not None:
            self.destroy_timer(self._report_timer)
        period_s = 1.0 / self._node_parameters.number("diagnostics_rate_hz")
        self._report_timer = self.create_timer(period_s, self._report, clock=self._steady_clock)

    def _report(self) -> None:
        if self._worker is not None:
            self._worker.max_frame_age_ms = self._node_parameters.number("max_frame_age_ms")
        statuses = self._statuses()
        self._diagnostics.publish(statuses)
        self._tell(statuses)

    def _statuses(self) -> Sequence[TaskStatus]:
        parameters, last_ns = self._node_parameters, self._last_received_ns
        topic = self._inputs[0].topic_name if self._inputs else ""
        counts = self._counts()
        reading = MessageReading(
            topic=topic,
            publisher_count=self.count_publishers(topic) if topic else 0,
            seconds_since_last=None if last_ns is None else (time.monotonic_ns() - last_ns) / 1e9,
            is_working=self._worker is not None and self._worker.is_running,
            counts=counts,
            latency=self._latency.summary(),
            last_error=self._last_error,
        )
        own = (self.get_name(), self.get_namespace())
        namesakes = sum(seen == own for seen in self.get_node_names_and_namespaces())
        return [
            self._resource_status(),
            message_status(
                self._task,
                reading,
                window=self._window.update(counts),
                timeout_s=parameters.number("input_timeout_s"),
                overload_warn_share=parameters.number("overload_warn_share"),
                is_unpaired_normal=self._is_unpaired_normal,
            ),
            *self._more_statuses(),
            node_status(self.get_fully_qualified_name(), namesakes),
        ]
