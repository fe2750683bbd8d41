"""Networks as ONNX files, checked against torch before they are written."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from gps_denied_inference import __version__
from gps_denied_inference.core.architectures import ArchitectureEntry
from gps_denied_inference.core.architectures.install_commands import install_command
from gps_denied_inference.core.contracts import OptimizationProfile, PrecisionMode
from gps_denied_inference.core.engines.onnx_agreement import probe_inputs, require_agreement
from gps_denied_inference.core.engines.space import space_id
from gps_denied_inference.core.errors import EngineBuildError, RuntimeNotAvailableError
from gps_denied_inference.core.optional import require
from gps_denied_inference.core.runtime.engine_file import read_source
from gps_denied_inference.core.runtime.onnx_errors import onnxruntime_errors
from gps_denied_inference.core.runtime.onnx_network import SessionThreads, make_session
from gps_denied_inference.core.runtime.onnx_providers import PROVIDERS
from gps_denied_inference.core.runtime.torch_checkpoint import load_published, state_dict_from_bytes
from gps_denied_inference.core.runtime.torch_outputs import named_tensors

if TYPE_CHECKING:
    import torch

__all__ = ["OPSET", "OnnxExport", "export_onnx"]

OPSET = 18  # what torch's exporter writes without converting; the CUDA and TensorRT providers know its operators
_PRECISIONS = (PrecisionMode.FP32, PrecisionMode.FP16)
_PURPOSE = "the ONNX export"


@dataclass(frozen=True, slots=True)
class OnnxExport:
    """An exported network.

    Attributes:
        path: of the file.
        sha256: of its bytes, lower-case hex.
        opset: of its operators.
        max_abs_error: largest difference between its outputs and those of FP32 torch.
        metadata: its `metadata_props`.
    """

    path: Path
    sha256: str
    opset: int
    max_abs_error: float
    metadata: Mapping[str, str]


def export_onnx(
    architecture_entry: ArchitectureEntry,
    checkpoint: Path,
    precision: PrecisionMode,
    destination: Path,
    *,
    profiles: Sequence[OptimizationProfile] = (),
) -> OnnxExport:
    """Write a network with its weights as one ONNX file.

    FP16 is strongly typed: the weights are half precision, and casts inside the graph keep inputs and outputs float32,
    as the runtime contract wants them. Sizes are those of the specification, save where a profile lets them vary. Equal
    arguments and package versions give equal bytes.

    Args:
        architecture_entry: the network.
        checkpoint: its weights, as published.
        precision: FP32 or FP16.
        destination: file to write; appears complete or not at all.
        profiles: smallest and largest sizes of the inputs that vary.

    Raises:
        EngineBuildError: the checkpoint does not fit, the network cannot be exported, or its outputs differ from
            torch's.
        RuntimeNotAvailableError: torch, onnx, onnxscript or onnxruntime is absent.
    """
    if precision not in _PRECISIONS:
        raise EngineBuildError(f"cannot export '{architecture_entry.name}' in {precision.value}; ask for fp32 or fp16")
    torch = require("torch", install=install_command("torch"), purpose=_PURPOSE)
    for package in ("onnx", "onnxscript"):
        require(package, install=install_command(package), purpose=_PURPOSE)
    content = read_source(checkpoint)
    spec = architecture_entry.spec
    module = _loaded(architecture_entry, content, checkpoint)
    metadata = _metadata(architecture_entry, hashlib.sha256(content).hexdigest(), precision)
    inputs = probe_inputs(spec)
    with _build_errors(f"running '{architecture_entry.name}' in torch"), torch.inference_mode():
        tensors = tuple(torch.from_numpy(inputs[item.name]) for item in spec.inputs)
        returned = named_tensors(module(*tensors), spec.output_names)
        expected = {name: values.float().numpy().copy() for name, values in returned.items()}
    with _build_errors(f"exporting '{architecture_entry.name}'"):
        written = _serialized(_exported(module, architecture_entry, precision, profiles), metadata)
    with onnxruntime_errors(f"running the exported '{architecture_entry.name}'", EngineBuildError):
        session = make_session(written, [(PROVIDERS["cpu"], {})], SessionThreads())
        names = list(spec.output_names)
        found = dict(zip(names, session.run(names, inputs), strict=True))
    error = require_agreement(architecture_entry.name, spec, precision, expected, found)
    _write(destination, written)
    return OnnxExport(destination, hashlib.sha256(written).hexdigest(), OPSET, error, metadata)


def _loaded(entry: ArchitectureEntry, content: bytes, checkpoint: Path) -> torch.nn.Module:
    try:
        state_dict = state_dict_from_bytes(content, checkpoint.suffix, str(checkpoint))
    except ValueError as error:
        raise EngineBuildError(str(error)) from (error.__cause__ or error)
    with _build_errors(f"building '{entry.name}'"):
        module = entry.build()
        load_published(module, entry, state_dict)
        module.eval().requires_grad_(False)
    return module


def _exported(
    module: torch.nn.Module,
    entry: ArchitectureEntry,
    precision: PrecisionMode,
    profiles: Sequence[OptimizationProfile],
) -> Any:
    """Export a network that takes and gives float32, as an ONNX model. Changes the network's precision in place."""
    pytorch = require("torch", install=install_command("torch"), purpose=_PURPOSE)
    dtype = pytorch.float16 if precision is PrecisionMode.FP16 else pytorch.float32
    spec = entry.spec

    class Float32AtTheBorders(pytorch.nn.Module):  # type: ignore[name-defined]  # torch is imported late
        def __init__(self) -> None:
            super().__init__()
            self.network = module.to(dtype)

        def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            returned = named_tensors(self.network(*(values.to(dtype) for values in inputs)), spec.output_names)
            return tuple(values.float() for values in returned.values())

    varying = {profile.input_name: profile for profile in profiles}
    unknown = varying.keys() - {item.name for item in spec.inputs}
    if unknown:
        raise EngineBuildError(f"profiles name inputs {sorted(unknown)} that '{entry.name}' does not have")
    examples, shapes = [], []
    for item in spec.inputs:
        profile = varying.get(item.name)
        examples.append(pytorch.zeros(item.shape if profile is None else profile.max_shape))
        shapes.append({} if profile is None else _open_sizes(profile))
    with _quiet():
        program = pytorch.onnx.export(
            Float32AtTheBorders().eval(),
            tuple(examples),
            dynamo=True,
            input_names=[item.name for item in spec.inputs],
            output_names=list(spec.output_names),
            opset_version=OPSET,
            dynamic_shapes=(tuple(shapes),) if varying else None,
            external_data=False,
            verbose=False,
        )
    return program.model_proto


def _open_sizes(profile: OptimizationProfile) -> dict[int, Any]:
    torch = require("torch", install=install_command("torch"), purpose=_PURPOSE)
    return {
        axis: torch.export.Dim(f"{profile.input_name}_{axis}", min=smallest, max=largest)
        for axis, (smallest, largest) in enumerate(zip(profile.min_shape, profile.max_shape, strict=True))
        if smallest != largest
    }


def _metadata(entry: ArchitectureEntry, weights_sha256: str, precision: PrecisionMode) -> Mapping[str, str]:
    """What names the network, and all that names the space of its descriptors."""
    return MappingProxyType(
        {
            "model": entry.name,
            "weights_sha256": weights_sha256,
            "preprocess_sha256": entry.spec.preprocess.sha256,
            "space_id": space_id(entry.name, weights_sha256, entry.spec),
            "descriptor_dimension": str(entry.spec.descriptor_dimension),
            "precision": precision.value,
            "opset": str(OPSET),
            "package_version": __version__,
        }
    )


def _serialized(model: Any, metadata: Mapping[str, str]) -> bytes:
    """Bytes without the exporter's notes, which hold paths of this computer."""
    del model.metadata_props[:]
    for name, value in sorted(metadata.items()):
        model.metadata_props.add(key=name, value=value)
    graph = model.graph
    graph.doc_string = ""
    del graph.metadata_props[:]
    for item in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        item.doc_string = ""
        del item.metadata_props[:]
    serialized: bytes = model.SerializeToString(deterministic=True)
    return serialized


def _write(destination: Path, content: bytes) -> None:
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=destination.parent, prefix=f".{destination.name}.", delete=False) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(destination)
    except OSError as error:
        raise EngineBuildError(
            f"cannot write {destination} ({error.strerror}); choose a folder that can be written"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress off stdout, and what it says of packages and classes that this network lacks."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def _build_errors(doing: str) -> Iterator[None]:
    try:
        yield
    except (EngineBuildError, RuntimeNotAvailableError):
        raise
    except Exception as error:  # torch, its exporter and the network raise anything
        reason = (str(error).splitlines() or [""])[0]
        raise EngineBuildError(f"{doing} failed ({type(error).__name__}: {reason}); correct the network") from error
