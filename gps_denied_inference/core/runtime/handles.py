"""Which handles a runtime has given out, and what stands behind each."""

from __future__ import annotations

import itertools
from typing import Generic, TypeVar

from gps_denied_inference.core.contracts import EffectiveConfiguration, EngineHandle, RuntimeLabel, TensorSpec
from gps_denied_inference.core.errors import InferenceError

__all__ = ["HandleTable"]

Engine = TypeVar("Engine")

_IDS = itertools.count(1)


class HandleTable(Generic[Engine]):
    """Handles of one runtime object; refuses those of others by name."""

    def __init__(self, label: RuntimeLabel) -> None:
        self._label = label
        self._engines: dict[int, Engine] = {}
        self._released: set[int] = set()

    def add(
        self,
        engine: Engine,
        *,
        model_name: str,
        input_specs: tuple[TensorSpec, ...],
        configuration: EffectiveConfiguration,
    ) -> EngineHandle:
        """Keep a loaded engine and return its handle."""
        handle = EngineHandle(self._label, next(_IDS), model_name, input_specs, configuration)
        self._engines[handle.handle_id] = engine
        return handle

    def get(self, handle: EngineHandle) -> Engine:
        """Return the engine of a live handle.

        Raises:
            InferenceError: the handle is released, or not of this runtime object.
        """
        self._require_own(handle)
        try:
            return self._engines[handle.handle_id]
        except KeyError:
            raise InferenceError(
                f"handle {handle.handle_id} of model '{handle.model_name}' is released; deserialize the engine again"
            ) from None

    def release(self, handle: EngineHandle) -> Engine | None:
        """Forget a handle and return its engine; None when it was released before.

        Raises:
            InferenceError: the handle is not of this runtime object.
        """
        self._require_own(handle)
        engine = self._engines.pop(handle.handle_id, None)
        self._released.add(handle.handle_id)
        return engine

    def release_all(self) -> list[Engine]:
        """Forget every handle and return the engines."""
        engines = []
        while self._engines:
            handle_id, engine = self._engines.popitem()
            self._released.add(handle_id)
            engines.append(engine)
        return engines

    def __len__(self) -> int:
        return len(self._engines)

    def _require_own(self, handle: EngineHandle) -> None:
        if not isinstance(handle, EngineHandle):
            raise InferenceError(
                f"expected a handle of runtime '{self._label.value}', got {type(handle).__name__}; "
                "pass what deserialize_engine returned"
            )
        is_known = handle.handle_id in self._engines or handle.handle_id in self._released
        if handle.runtime_label is not self._label or not is_known:
            raise InferenceError(
                f"handle {handle.handle_id} of model '{handle.model_name}' belongs to another runtime "
                f"('{handle.runtime_label.value}'); this one is '{self._label.value}'. "
                "Use the runtime that returned the handle"
            )
