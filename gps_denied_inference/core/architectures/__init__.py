"""Networks by name: what each takes and gives, how it is built, where its weights come from."""

from gps_denied_inference.core.architectures.default import default_registry, register_architecture
from gps_denied_inference.core.architectures.licenses import require_accepted_license
from gps_denied_inference.core.architectures.registry import (
    ArchitectureEntry,
    ArchitectureRegistry,
    base_name,
    sized_name,
)
from gps_denied_inference.core.architectures.weights import find_weights, locate_weights

__all__ = [
    "ArchitectureEntry",
    "ArchitectureRegistry",
    "base_name",
    "default_registry",
    "find_weights",
    "locate_weights",
    "register_architecture",
    "require_accepted_license",
    "sized_name",
]
