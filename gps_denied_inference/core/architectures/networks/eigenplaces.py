"""EigenPlaces: a ResNet, GeM and a linear layer.

Berton et al., EigenPlaces: Training Viewpoint Robust Models for Visual Place Recognition, ICCV 2023; the layers are
those of CosPlace (Berton et al., CVPR 2022, section 3).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional

from gps_denied_inference.core.architectures.networks.gem import LearntGem
from gps_denied_inference.core.architectures.networks.resnet import ResNetBackbone, rename_backbone

__all__ = ["EigenPlaces", "eigenplaces_resnet18", "eigenplaces_resnet50", "rename_layers"]

# The authors hold torchvision's children in a sequence, where only these have parameters.
_CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
_CHILD = re.compile(r"^backbone\.(\d)\.")


class EigenPlaces(nn.Module):
    """Image to a unit vector.

    Args:
        depth: of the ResNet, 18 or 50.
        descriptor_dimension: of the result.
    """

    def __init__(self, depth: int, descriptor_dimension: int) -> None:
        super().__init__()
        self.backbone = ResNetBackbone(depth)
        self.pool = LearntGem()
        self.linear = nn.Linear(self.backbone.channels, descriptor_dimension)

    def forward(self, image: Tensor) -> Tensor:
        """Describe.

        Args:
            image: (1, 3, H, W), RGB, ImageNet's mean and standard deviation taken out.

        Returns:
            (1, D), float32, L2-normalised.
        """
        features = functional.normalize(self.backbone(image).float(), dim=1)
        pooled = self.pool(features)
        described: Tensor = self.linear(pooled.to(self.linear.weight.dtype))
        return functional.normalize(described.float(), dim=1)


def eigenplaces_resnet18() -> EigenPlaces:
    """The small network, 512-D."""
    return EigenPlaces(18, 512)


def eigenplaces_resnet50() -> EigenPlaces:
    """The large network, 2048-D."""
    return EigenPlaces(50, 2048)


def rename_layers(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """From the authors' checkpoint: children of the backbone and of the aggregation by number."""
    backbone: dict[str, Tensor] = {}
    others: dict[str, Tensor] = {}
    for name, value in state_dict.items():
        match = _CHILD.match(name)
        if match and match[1] in _CHILDREN:
            backbone[f"{_CHILDREN[match[1]]}.{name[match.end() :]}"] = value
        else:
            others[name.replace("aggregation.1.", "pool.").replace("aggregation.3.", "linear.")] = value
    return others | {f"backbone.{name}": value for name, value in rename_backbone(backbone).items()}
