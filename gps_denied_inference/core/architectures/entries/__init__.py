"""The networks that this package brings: what each takes, gives, and where its weights come from."""

from __future__ import annotations

from gps_denied_inference.core.architectures.entries import global_descriptors, local_features, matchers
from gps_denied_inference.core.architectures.entries.global_descriptors import EFFICIENTNET_LITE0_GRID
from gps_denied_inference.core.architectures.entries.local_features import XFEAT
from gps_denied_inference.core.architectures.registry import ArchitectureRegistry

__all__ = ["EFFICIENTNET_LITE0_GRID", "XFEAT", "register"]


def register(registry: ArchitectureRegistry) -> None:
    """Add our networks."""
    for room in (global_descriptors, local_features, matchers):
        room.register(registry)
