"""Networks with their published weights, for the tests of this folder."""

from __future__ import annotations

from typing import Any

import pytest

from gps_denied_inference.core.architectures import ArchitectureEntry, default_registry, locate_weights
from gps_denied_inference.core.errors import EngineBuildError, RuntimeNotAvailableError
from gps_denied_inference.core.runtime.torch_checkpoint import load_published, state_dict_from_bytes

__all__ = ["published_module"]


def published_module(name: str) -> tuple[ArchitectureEntry, Any]:
    """Build a network in evaluation mode, or skip where its weights or a package are absent."""
    entry = default_registry().lookup(name)
    try:
        path = locate_weights(entry.spec, name, None)
        module = entry.build()
    except (EngineBuildError, RuntimeNotAvailableError) as error:
        pytest.skip(str(error))
    load_published(module, entry, state_dict_from_bytes(path.read_bytes(), path.suffix, name))
    return entry, module.eval().requires_grad_(False)
