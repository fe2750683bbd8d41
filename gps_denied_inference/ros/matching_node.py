"""A lifecycle node whose work is done by one network that matches, and that is watched while it does it."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Any, TypeVar

from gps_denied_inference.core.pipeline import MatchedFeatures, MatchingPipeline, NewestWorker, Processor
from gps_denied_inference.ros.engine_recovery import EngineRecovery
from gps_denied_inference.ros.worker_node import WorkerNode

__all__ = ["MatchingNode", "MatchingProcessor"]

_Item = TypeVar("_Item")
_SWAP_S = 1.0
"""Nothing is in work when a network takes the place of one that hung."""


class MatchingProcessor(ABC, Processor[_Item, MatchedFeatures]):
    """Reads messages on the worker's thread: one that is not valid is counted like any that cannot be used.

    Args:
        network: that it matches with; None where it needs none.
    """

    def __init__(self, network: MatchingPipeline | None) -> None:
        self.network = network

    @abstractmethod
    def warm_up_thread(self) -> None: ...

    @abstractmethod
    def process(self, frame: _Item, received_ns: int | None = None, /) -> MatchedFeatures: ...


class MatchingNode(WorkerNode[_Item, MatchedFeatures]):
    """A network that does not return within `infer_deadline_ms` is abandoned and loaded again, once.

    Attributes:
        exit_reason: why the process must end, because it hung again; empty while it need not.
    """

    def __init__(self, name: str, **node_options: Any) -> None:
        self.exit_reason = ""
        self._network: MatchingPipeline | None = None
        self._recovery: EngineRecovery | None = None
        # A network is loaded again on a thread of its own, and released on the executor's.
        self._network_lock = threading.Lock()
        super().__init__(name, resource_task="engine", **node_options)

    # What a subclass brings.

    @abstractmethod
    def _prepare(self) -> bool:
        """Load what the work needs beside the network; tells whether it needs one. May raise an error of the family."""

    @abstractmethod
    def _loaded_network(self) -> MatchingPipeline:
        """Load the network; may raise an error of the family. On any thread."""

    @abstractmethod
    def _processor(self, network: MatchingPipeline | None) -> MatchingProcessor[_Item]:
        """Return what does the work with this network."""

    def _load(self) -> Processor[_Item, MatchedFeatures]:
        if self._prepare():
            self._network = self._loaded_network()
        return self._processor(self._network)

    def configure(self) -> None:
        super().configure()
        if self._network is not None and self._worker is not None:
            self._recovery = self._watch(self._worker)

    def release(self) -> None:
        if self._recovery is not None:
            self._recovery.end()
            self._recovery = None
        with self._network_lock:
            super().release()

    def close(self) -> None:
        if self.exit_reason:
            self._report()
        super().close()

    def _unload(self) -> None:
        # One that hangs is closed by its own thread, if it ever returns: nobody may pull the engine from under it.
        if self._network is not None and not self._is_hung:
            self._network.close()
        self._network = None

    @property
    def _failure(self) -> str:
        """Why no network works: the last configure failed, or the network hung; empty when it is well."""
        return self._configure_error or ("" if self._recovery is None else self._recovery.complaint)

    @property
    def _reloads(self) -> int:
        """How often the network was loaded again since configure."""
        return 0 if self._recovery is None else self._recovery.reloads

    def _on_late_return(self, processor: Processor[_Item, MatchedFeatures]) -> None:
        if isinstance(processor, MatchingProcessor) and processor.network is not None:
            processor.network.close()

    def _watch(self, worker: NewestWorker[_Item, MatchedFeatures]) -> EngineRecovery:
        def deadline_s() -> float:
            return self._node_parameters.number("infer_deadline_ms") / 1e3

        def abandon() -> bool:
            with self._network_lock:
                if not worker.abandon(deadline_s()):
                    return False
                self._network = None
            return True

        def reload() -> None:
            network = self._loaded_network()
            with self._network_lock:
                if self._worker is worker:
                    worker.swap(self._processor(network), _SWAP_S)
                    self._network = network
                    return
            network.close()  # the node was cleaned up meanwhile

        return EngineRecovery(
            self,
            busy_s=lambda: worker.busy_s,
            deadline_s=deadline_s,
            abandon=abandon,
            reload=reload,
            report=self._report,
            give_up=self._give_up,
        )

    def _give_up(self, reason: str) -> None:
        self.exit_reason = reason
