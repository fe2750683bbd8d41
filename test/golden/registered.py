"""Registered networks of full size, with the weights that can be had, and what they make of fixed inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gps_denied_inference.core.architectures import ArchitectureEntry, default_registry, locate_weights
from gps_denied_inference.core.contracts import ArchitectureSpec, OutputKind
from gps_denied_inference.core.engines.onnx_agreement import probe_inputs
from gps_denied_inference.core.runtime.torch_checkpoint import load_published, state_dict_from_bytes
from gps_denied_inference.core.runtime.torch_outputs import named_tensors
from test.golden.inputs import golden_inputs
from test.golden.seeded_checkpoints import seeded_checkpoint

__all__ = ["forward", "loaded", "other_inputs"]

Arrays = dict[str, NDArray[np.float32]]


def loaded(name: str) -> tuple[ArchitectureEntry, Any]:
    """Build a network in evaluation mode with its published weights, or seeded ones where none can be installed.

    Raises:
        EngineBuildError: the published weights come with a package that is not installed.
        EngineDeserializeError: a key or a shape does not fit.
        RuntimeNotAvailableError: a package of the network is absent.
    """
    entry = default_registry().lookup(name)
    if entry.spec.is_verified_by_layout_only:
        state = {key: torch.from_numpy(np.asarray(value)) for key, value in seeded_checkpoint(name).items()}
    else:
        path = locate_weights(entry.spec, name, None)
        state = state_dict_from_bytes(path.read_bytes(), path.suffix, name)
    module = entry.build()
    load_published(module, entry, state)
    return entry, module.eval().requires_grad_(False)


def forward(module: Any, spec: ArchitectureSpec, inputs: Arrays) -> Arrays:
    with torch.inference_mode():
        returned = module(*(torch.from_numpy(inputs[item.name]) for item in spec.inputs))
    return {name: values.numpy().copy() for name, values in named_tensors(returned, spec.output_names).items()}


def other_inputs(spec: ArchitectureSpec) -> Arrays:
    """Make inputs that have nothing in common with `probe_inputs`, or show the same elsewhere."""
    if spec.output_kind is OutputKind.GLOBAL_DESCRIPTOR:
        return {spec.inputs[0].name: golden_inputs(spec)["crop"]}
    probe = probe_inputs(spec)
    if spec.output_kind is not OutputKind.MATCHES:
        return {name: np.ascontiguousarray(image[..., ::-1]) for name, image in probe.items()}
    # The same features, each in another row of the second set.
    count = int((probe["scores1"] > 0).sum())
    for name in ("keypoints1", "descriptors1"):
        probe[name][0, :count] = np.roll(probe[name][0, :count], 7, axis=0)
    return probe
