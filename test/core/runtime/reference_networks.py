"""Small networks for tests: a reference with known weights, and one for each way to return outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from gps_denied_inference.core.architectures import ArchitectureRegistry
from gps_denied_inference.core.contracts import (
    ArchitectureSpec,
    ColorSpace,
    OutputKind,
    PrecisionMode,
    PreprocessSpec,
    TensorSpec,
)

REFERENCE_CNN = "reference_cnn"
OUTPUT_STYLES = ("tensor", "tuple", "list", "dict", "dataclass")


class ReferenceCnn(nn.Module):
    """A few layers of every usual kind; dropout and batch norm tell evaluation from training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.5),
        )
        self.head = nn.Linear(32, 8)

    def forward(self, image: Tensor) -> Tensor:
        """(1, 3, 32, 32) to (1, 8)."""
        output: Tensor = self.head(self.features(image))
        return output


@dataclass
class Pair:
    first: Tensor
    second: Tensor


class StyledOutputs(nn.Module):
    """Returns `first` = 2x and `second` = x + 1, packed in one of `OUTPUT_STYLES` ("tensor": only `first`)."""

    def __init__(self, style: str) -> None:
        super().__init__()
        self.style = style
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...] | list[Tensor] | Mapping[str, Tensor] | Pair:
        first, second = image * self.scale, image + 1.0
        if self.style == "tensor":
            return first
        if self.style == "tuple":
            return first, second
        if self.style == "list":
            return [first, second]
        if self.style == "dict":
            return {"second": second, "first": first}
        return Pair(first=first, second=second)


def spec_for(shape: tuple[int, ...], output_names: tuple[str, ...], dimension: int) -> ArchitectureSpec:
    """A specification for a network that takes one RGB image."""
    return ArchitectureSpec(
        inputs=(TensorSpec("image", shape),),
        preprocess=PreprocessSpec(shape[2], shape[3], ColorSpace.RGB, (0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
        output_kind=OutputKind.GLOBAL_DESCRIPTOR,
        output_names=output_names,
        descriptor_dimension=dimension,
        is_l2_normalized=False,
        max_keypoints=0,
        weights=None,
        license="Apache-2.0",
        paper="none",
    )


def reference_registry() -> ArchitectureRegistry:
    """A registry that holds the small networks and nothing else."""
    registry = ArchitectureRegistry()
    registry.register(REFERENCE_CNN, ReferenceCnn, spec=spec_for((1, 3, 32, 32), ("descriptor",), 8))
    for style in OUTPUT_STYLES:
        names = ("first",) if style == "tensor" else ("first", "second")
        registry.register(f"styled_{style}", partial(StyledOutputs, style), spec=spec_for((1, 3, 4, 4), names, 48))
    return registry


def seeded_reference() -> ReferenceCnn:
    """The reference network with the same weights every time, batch-norm statistics away from their defaults."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        network = ReferenceCnn()
        norm = network.features[1]
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
    network.eval()
    return network


def write_reference_checkpoint(folder: Path, name: str = f"{REFERENCE_CNN}.pt") -> Path:
    """Save the seeded reference network's state dict."""
    path = folder / name
    torch.save(seeded_reference().state_dict(), path)
    return path


def write_reference_onnx(
    folder: Path, precision: PrecisionMode = PrecisionMode.FP16, name: str = f"{REFERENCE_CNN}.onnx"
) -> Path:
    """Export the seeded reference network; the export itself is made once in a process."""
    path = folder / name
    path.write_bytes(_reference_onnx(precision))
    return path


@cache
def _reference_onnx(precision: PrecisionMode) -> bytes:
    from gps_denied_inference.core.engines.onnx_export import export_onnx

    with TemporaryDirectory() as name:
        folder = Path(name)
        entry = reference_registry().lookup(REFERENCE_CNN)
        return export_onnx(
            entry, write_reference_checkpoint(folder), precision, folder / "network.onnx"
        ).path.read_bytes()
