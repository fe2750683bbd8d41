"""Golden sets: real images and what the FP32 network makes of them, kept beside an engine."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.architectures import ArchitectureEntry
from gps_denied_inference.core.contracts import EffectiveConfiguration, PrecisionMode
from gps_denied_inference.core.engines.activation_memory import ActivationMeter
from gps_denied_inference.core.engines.golden_pairs import image_for, pair_inputs
from gps_denied_inference.core.errors import EngineBuildError, EngineFidelityError, EngineHashMismatchError
from gps_denied_inference.core.imaging import Preprocessor
from gps_denied_inference.core.runtime.engine_file import read_source
from gps_denied_inference.core.runtime.torch_checkpoint import state_dict_from_bytes
from gps_denied_inference.core.runtime.torch_network import TorchNetwork, backend_errors

__all__ = ["GoldenSet", "golden_bytes", "image_for", "make_golden", "read_golden"]

_FORMAT = "gps_denied_inference golden set 1"


@dataclass(frozen=True, slots=True, eq=False)
class GoldenSet:
    """Images and reference outputs of one network.

    Attributes:
        model: architecture.
        weights_sha256: of the checkpoint that the reference ran with.
        preprocess_sha256: of the preprocessing that the reference ran with.
        images_hwc: uint8, RGB, shape (N, H, W, 3); none for a network that takes no single image.
        outputs: for each image, or set of inputs, the network's outputs by name, float32, computed in FP32.
        inputs: for a network that takes no single image: what it takes, by name.
    """

    model: str
    weights_sha256: str
    preprocess_sha256: str
    images_hwc: NDArray[np.uint8]
    outputs: tuple[Mapping[str, NDArray[np.float32]], ...]
    inputs: tuple[Mapping[str, NDArray[np.float32]], ...] = ()

    @property
    def count(self) -> int:
        return len(self.outputs)


def make_golden(
    architecture: ArchitectureEntry,
    checkpoint: Path,
    images_hwc: NDArray[np.uint8],
    on_progress: Callable[[float], None] = lambda _fraction: None,
    meter: ActivationMeter | None = None,
) -> GoldenSet:
    """Run the reference: torch, FP32, on the CPU.

    Args:
        architecture: the network.
        checkpoint: its weights, as published.
        images_hwc: uint8, RGB, shape (N, H, W, 3).
        on_progress: called with the fraction done after each image.
        meter: watches the pass over the first image.

    Raises:
        EngineBuildError: the checkpoint is missing, malformed or another network's.
        RuntimeNotAvailableError: torch is absent.
    """
    content = read_source(checkpoint)
    spec = architecture.spec
    configuration = EffectiveConfiguration(PrecisionMode.FP32, PrecisionMode.FP32, "cpu", "cpu", "torch")
    try:
        state_dict = state_dict_from_bytes(content, checkpoint.suffix, str(checkpoint))
    except ValueError as error:
        raise EngineBuildError(str(error)) from (error.__cause__ or error)
    preprocessor = Preprocessor(spec.preprocess)
    outputs = []
    with backend_errors(f"running '{architecture.name}' for its golden outputs", EngineBuildError):
        try:
            network = TorchNetwork(architecture, state_dict, configuration)
        except EngineBuildError:
            raise
        except Exception as error:
            raise EngineBuildError(f"{checkpoint} cannot be used for '{architecture.name}': {error}") from error
        inputs = () if spec.output_kind.is_of_one_image else pair_inputs(spec, images_hwc)
        if inputs:
            images_hwc = np.empty((0, 1, 1, 3), np.uint8)
        count = len(inputs) or len(images_hwc)
        for index in range(count):
            if inputs:
                arrays = inputs[index]
            else:
                batch_nchw, _ = preprocessor.prepare(image_for(spec.preprocess.color, images_hwc[index]))
                arrays = {spec.inputs[0].name: batch_nchw}
            with meter.watching() if meter is not None and index == 0 else contextlib.nullcontext():
                outputs.append(network.forward(arrays))
            on_progress((index + 1) / count)
    return GoldenSet(
        model=architecture.name,
        weights_sha256=hashlib.sha256(content).hexdigest(),
        preprocess_sha256=spec.preprocess.sha256,
        images_hwc=images_hwc,
        outputs=tuple(outputs),
        inputs=inputs,
    )


def golden_bytes(golden: GoldenSet) -> bytes:
    """Write a golden set as an .npz file; equal sets give equal bytes."""
    header: dict[str, object] = {
        "format": _FORMAT,
        "model": golden.model,
        "weights_sha256": golden.weights_sha256,
        "preprocess_sha256": golden.preprocess_sha256,
        "names": list(golden.outputs[0]) if golden.outputs else [],
    }
    if golden.inputs:
        header |= {"input_names": list(golden.inputs[0]), "count": len(golden.inputs)}
    arrays: dict[str, NDArray[np.uint8] | NDArray[np.float32]] = {
        "header": np.frombuffer(json.dumps(header, sort_keys=True).encode(), np.uint8),
        "images_hwc": golden.images_hwc,
    }
    for index, outputs in enumerate(golden.outputs):
        arrays |= {f"{index}.{name}": values for name, values in outputs.items()}
    for index, inputs in enumerate(golden.inputs):
        arrays |= {f"{index}.input.{name}": values for name, values in inputs.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def read_golden(path: Path, sha256: str) -> GoldenSet:
    """Read a golden set, the very bytes that were hashed.

    Args:
        path: the .npz file.
        sha256: of its bytes, as the manifest says.

    Raises:
        EngineFidelityError: it is missing, unreadable, or no golden set.
        EngineHashMismatchError: its bytes are others.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EngineFidelityError(
            f"cannot read the golden set {path} ({error.strerror}); build the engine again"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256.lower():
        raise EngineHashMismatchError(
            f"the golden set {path} has SHA-256 {found}, the manifest says {sha256}; build the engine again"
        )
    try:
        return _parse(content)
    except (ValueError, KeyError, TypeError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise EngineFidelityError(
            f"{path} is not a golden set ({type(error).__name__}: {error}); build the engine again"
        ) from error


def _parse(content: bytes) -> GoldenSet:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        header = json.loads(arrays["header"].tobytes())
        if header["format"] != _FORMAT:
            raise ValueError(f"format {header['format']!r} instead of {_FORMAT!r}")
        images_hwc = arrays["images_hwc"]
        is_of_images = "input_names" not in header
        if images_hwc.dtype != np.uint8 or images_hwc.ndim != 4 or images_hwc.shape[3] != 3:
            raise ValueError(f"images of shape {images_hwc.shape}, {images_hwc.dtype}")
        count = len(images_hwc) if is_of_images else int(header["count"])
        if count < 1 or bool(images_hwc.size) is not is_of_images:
            raise ValueError(f"{count} sets of inputs and images of shape {images_hwc.shape}")
        outputs, inputs = (
            tuple(
                {name: np.asarray(arrays[f"{index}.{prefix}{name}"], np.float32) for name in names}
                for index in range(count)
            )
            for prefix, names in (("", header["names"]), ("input.", header.get("input_names", ())))
        )
    return GoldenSet(
        str(header["model"]),
        str(header["weights_sha256"]),
        str(header["preprocess_sha256"]),
        images_hwc,
        outputs,
        () if is_of_images else inputs,
    )
