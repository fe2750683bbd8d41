"""Global descriptors behind DINOv2: GeM, SALAD and BoQ."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from gps_denied_inference.core.architectures.networks.boq import BagOfQueries
from gps_denied_inference.core.architectures.networks.dinov2 import (
    VIT_B14,
    VIT_S14,
    Dinov2Backbone,
    VitSize,
    rename_backbone,
)
from gps_denied_inference.core.architectures.networks.gem import pool_by_signed_cube
from gps_denied_inference.core.architectures.networks.salad import Salad

__all__ = [
    "Dinov2Boq",
    "Dinov2Gem",
    "Dinov2Salad",
    "dinov2_vitb14",
    "dinov2_vitb14_boq",
    "dinov2_vitb14_salad",
    "dinov2_vits14",
    "dinov2_vits14_boq",
    "dinov2_vits14_salad",
    "rename_boq",
    "rename_gem",
    "rename_salad",
]

_IMAGE_SIZE = 322  # of the evaluations of SALAD and BoQ


class Dinov2Gem(nn.Module):
    """Image to a unit vector as long as a token."""

    def __init__(self, size: VitSize, image_size: int = _IMAGE_SIZE) -> None:
        super().__init__()
        self.backbone = Dinov2Backbone(size, image_size)

    def forward(self, image: Tensor) -> Tensor:
        """(1, 3, S, S) to (1, C), float32, L2-normalised."""
        _, patches = self.backbone(image)
        return pool_by_signed_cube(patches)


class Dinov2Salad(nn.Module):
    """Image to a unit vector of 8448, with the sizes of the published head."""

    def __init__(self, size: VitSize, image_size: int = _IMAGE_SIZE) -> None:
        super().__init__()
        self.backbone = Dinov2Backbone(size, image_size)
        self.aggregator = Salad(size.width)

    def forward(self, image: Tensor) -> Tensor:
        """(1, 3, S, S) to (1, 8448), float32, L2-normalised."""
        descriptor: Tensor = self.aggregator(*self.backbone(image))
        return descriptor


class Dinov2Boq(nn.Module):
    """Image to a unit vector of 12288, with the sizes of the published head."""

    def __init__(self, size: VitSize, image_size: int = _IMAGE_SIZE) -> None:
        super().__init__()
        self.backbone = Dinov2Backbone(size, image_size, has_final_norm=False)
        self.aggregator = BagOfQueries(size.width)

    def forward(self, image: Tensor) -> Tensor:
        """(1, 3, S, S) to (1, 12288), float32, L2-normalised."""
        _, patches = self.backbone(image)
        descriptor: Tensor = self.aggregator(patches)
        return descriptor


def dinov2_vits14() -> Dinov2Gem:
    """The small transformer with GeM."""
    return Dinov2Gem(VIT_S14)


def dinov2_vitb14() -> Dinov2Gem:
    """The base transformer with GeM."""
    return Dinov2Gem(VIT_B14)


def dinov2_vits14_salad() -> Dinov2Salad:
    """The small transformer with SALAD."""
    return Dinov2Salad(VIT_S14)


def dinov2_vitb14_salad() -> Dinov2Salad:
    """The base transformer with SALAD."""
    return Dinov2Salad(VIT_B14)


def dinov2_vits14_boq() -> Dinov2Boq:
    """The small transformer with BoQ."""
    return Dinov2Boq(VIT_S14)


def dinov2_vitb14_boq() -> Dinov2Boq:
    """The base transformer with BoQ."""
    return Dinov2Boq(VIT_B14)


def rename_gem(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """From Meta's checkpoint of the transformer alone."""
    return {f"backbone.net.{name}": value for name, value in rename_backbone(state_dict).items()}


def rename_salad(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """From the authors' checkpoint, which holds the transformer at `backbone.model`."""
    return _rename_below(state_dict, "backbone.model.", rename_backbone)


def rename_boq(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """From the authors' checkpoint, which holds the transformer at `backbone.dino`."""
    return _rename_below(state_dict, "backbone.dino.", rename_backbone)


def _rename_below(
    state_dict: Mapping[str, Tensor], prefix: str, rename: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
) -> dict[str, Tensor]:
    inside = {name.removeprefix(prefix): value for name, value in state_dict.items() if name.startswith(prefix)}
    outside = {name: value for name, value in state_dict.items() if not name.startswith(prefix)}
    return outside | {f"backbone.net.{name}": value for name, value in rename(inside).items()}
