"""The registry that everything uses unless it is handed another one."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from gps_denied_inference.core.architectures import entries
from gps_denied_inference.core.architectures.registry import ArchitectureEntry, ArchitectureRegistry
from gps_denied_inference.core.contracts import ArchitectureSpec

if TYPE_CHECKING:
    from gps_denied_inference.core.architectures.registry import ModuleFactory, StateDictConverter

__all__ = ["default_registry", "register_architecture"]


_LOCK = threading.RLock()
"""Entered again by a plugin that calls `register_architecture` while it is loaded; another thread waits for all."""

_registry: ArchitectureRegistry | None = None


def default_registry() -> ArchitectureRegistry:
    """Return the process-wide registry: our networks, then those of installed plugins. Made on the first call."""
    global _registry
    with _LOCK:
        if _registry is None:
            _registry = ArchitectureRegistry()
            entries.register(_registry)
            _registry.load_entry_points()
        return _registry


def register_architecture(
    name: str,
    factory: ModuleFactory | str,
    *,
    spec: ArchitectureSpec,
    converter: StateDictConverter | str | None = None,
) -> ArchitectureEntry:
    """Add a network to the process-wide registry; see `ArchitectureRegistry.register`."""
    return default_registry().register(name, factory, spec=spec, converter=converter)
