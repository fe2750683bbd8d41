"""What an exported model says of itself, against what it is loaded as."""

from __future__ import annotations

from collections.abc import Mapping

from gps_denied_inference.core.contracts import ArchitectureSpec, EngineCacheEntry
from gps_denied_inference.core.errors import EngineDeserializeError

__all__ = ["require_declared_metadata"]


def require_declared_metadata(
    stated: Mapping[str, str], entry: EngineCacheEntry, model_name: str, spec: ArchitectureSpec
) -> None:
    """Compare a model's `metadata_props` with the entry and the registry. What it does not state is not compared.

    Args:
        stated: names and values, as `export_onnx` writes them.
        entry: what the file is loaded as.
        model_name: of the registered network.
        spec: of that network, as registered.

    Raises:
        EngineDeserializeError: the file was made of another network, other weights, for another
            preprocessing, or in another precision.
    """
    expected = {
        "model": model_name,
        "preprocess_sha256": spec.preprocess.sha256,
        "descriptor_dimension": str(spec.descriptor_dimension),
    }
    if "weights_sha256" in entry.extras:
        expected["weights_sha256"] = entry.extras["weights_sha256"]
    if entry.extras.get("provider") != "tensorrt":  # TensorRT lowers the precision itself
        expected["precision"] = entry.precision.value
    for name, value in expected.items():
        if stated.get(name, value) != value:
            raise EngineDeserializeError(
                f"{entry.path} was exported with {name} '{stated[name]}'; it is loaded as '{model_name}' with "
                f"'{value}'. Build the engine again from this network"
            )
