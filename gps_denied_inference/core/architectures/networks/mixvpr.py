"""MixVPR: ResNet-50 up to its third stage, and mixing over places.

Ali-bey et al., MixVPR: Feature Mixing for Visual Place Recognition, WACV 2023, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional

from gps_denied_inference.core.architectures.networks.resnet import ResNetBackbone, rename_backbone

__all__ = ["MixVpr", "rename_layers"]

_PREFIX = "backbone.model."


class MixVpr(nn.Module):
    """Image to a unit vector of 4096, with the sizes of the published network.

    Args:
        image_size: height and width of the input; the layers that mix are made for it.
        channels, rows: of the descriptor, whose dimension is their product.
        mixers: number of layers that mix.
    """

    def __init__(self, image_size: int = 320, channels: int = 1024, rows: int = 4, mixers: int = 4) -> None:
        super().__init__()
        places = (image_size // 16) ** 2
        self.backbone = ResNetBackbone(50, stages=3)
        self.aggregator = _Aggregator(self.backbone.channels, places, channels, rows, mixers)

    def forward(self, image: Tensor) -> Tensor:
        """Describe.

        Args:
            image: (1, 3, S, S), RGB, ImageNet's mean and standard deviation taken out.

        Returns:
            (1, 4096), float32, L2-normalised.
        """
        mixed: Tensor = self.aggregator(self.backbone(image))
        return functional.normalize(mixed.flatten(1).float(), dim=1)


class _Aggregator(nn.Module):
    """The parameter names are those of github.com/amaralibey/MixVPR."""

    def __init__(self, in_channels: int, places: int, channels: int, rows: int, mixers: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(*[_Mixer(places) for _ in range(mixers)])
        self.channel_proj = nn.Linear(in_channels, channels)
        self.row_proj = nn.Linear(places, rows, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) to (N, channels, rows)."""
        mixed = self.mix(features.flatten(2))
        projected = self.channel_proj(mixed.transpose(1, 2)).transpose(1, 2)
        rows: Tensor = self.row_proj(projected)
        return rows


class _Mixer(nn.Module):
    def __init__(self, places: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(nn.LayerNorm(places), nn.Linear(places, places), nn.ReLU(), nn.Linear(places, places))

    def forward(self, rows: Tensor) -> Tensor:
        mixed: Tensor = rows + self.mix(rows)
        return mixed


def rename_layers(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """From the authors' checkpoint, which holds torchvision's ResNet at `backbone.model`."""
    inside = {name.removeprefix(_PREFIX): value for name, value in state_dict.items() if name.startswith(_PREFIX)}
    outside = {name: value for name, value in state_dict.items() if not name.startswith(_PREFIX)}
    return outside | {f"backbone.{name}": value for name, value in rename_backbone(inside).items()}
