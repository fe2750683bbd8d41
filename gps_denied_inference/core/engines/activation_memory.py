"""How much memory a forward pass holds at once, seen on any device."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any

from gps_denied_inference.core.optional import require

__all__ = ["ActivationMeter"]


class ActivationMeter:
    """Counts the tensors that torch makes and frees. What an operator needs for itself is not seen.

    Attributes:
        peak_bytes: most that was held at once while it watched, weights and inputs left out.
    """

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._held: dict[int, int] = {}

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch what this thread runs in torch.

        Raises:
            RuntimeNotAvailableError: torch is absent.
        """
        purpose, install = "the measurement of memory", "pip install torch==2.13.0"
        dispatch = require("torch.utils._python_dispatch", install=install, purpose=purpose)
        leaves_of = require("torch.utils._pytree", install=install, purpose=purpose).tree_leaves
        tensor_type = require("torch", install=install, purpose=purpose).Tensor
        meter = self

        class Mode(dispatch.TorchDispatchMode):  # type: ignore[name-defined]  # torch is imported late
            def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                known = {_storage_key(item) for item in leaves_of((args, kwargs)) if isinstance(item, tensor_type)}
                result = operator(*args, **(kwargs or {}))
                for item in leaves_of(result):
                    if isinstance(item, tensor_type) and _storage_key(item) not in known:
                        meter._hold(item)
                return result

        with Mode():
            yield
        self._held.clear()

    def _hold(self, tensor: Any) -> None:
        storage = tensor.untyped_storage()
        key = _storage_key(tensor)
        if key in self._held:
            return
        self._held[key] = int(storage.nbytes())
        weakref.finalize(storage, self._held.pop, key, None)
        self.peak_bytes = max(self.peak_bytes, sum(self._held.values()))


def _storage_key(tensor: Any) -> int:
    return int(tensor.untyped_storage()._cdata)
