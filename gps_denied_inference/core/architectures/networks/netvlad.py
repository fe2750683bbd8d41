"""NetVLAD behind the convolutions of VGG-16.

Arandjelović et al., NetVLAD: CNN architecture for weakly supervised place recognition, CVPR 2016, section 3.1; the
convolutions are configuration D of Simonyan and Zisserman, ICLR 2015, without the last activation and pooling.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["NetVladVgg16", "rename_layers"]

_CHANNELS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512)  # 0: halve the size


class NetVladVgg16(nn.Module):
    """Image to a unit vector of 32768 = 64 clusters × 512 channels.

    The parameter names are those of github.com/Nanne/pytorch-NetVlad.

    Args:
        clusters: number of them.
    """

    def __init__(self, clusters: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for out_channels in _CHANNELS:
            if out_channels == 0:
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [nn.Conv2d(channels, out_channels, 3, padding=1), nn.ReLU()]
            channels = out_channels
        self.encoder = nn.Sequential(*layers[:-1])
        self.pool = _Vlad(clusters, channels)

    def forward(self, image: Tensor) -> Tensor:
        """Describe.

        Args:
            image: (1, 3, H, W), RGB, ImageNet's mean and standard deviation taken out.

        Returns:
            (1, 32768), cluster by cluster, float32, L2-normalised.
        """
        descriptor: Tensor = self.pool(self.encoder(image))
        return descriptor


class _Vlad(nn.Module):
    def __init__(self, clusters: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, clusters, 1, bias=False)
        self.centroids = nn.Parameter(torch.rand(clusters, channels))

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) to (N, clusters · C), float32: residuals to the centres, weighed by the soft assignment."""
        features = functional.normalize(features.float(), dim=1)
        logits = self.conv(features.to(self.conv.weight.dtype)).float().flatten(2)
        assignment = functional.softmax(logits, dim=1)
        weighed = torch.einsum("nkp,ncp->nkc", assignment, features.flatten(2))
        residuals = weighed - assignment.sum(dim=2, keepdim=True) * self.centroids.float()
        return functional.normalize(functional.normalize(residuals, dim=2).flatten(1), dim=1)


def rename_layers(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """From the authors' checkpoint, which may hold each part inside a `module` when it was trained on several GPUs."""
    return {name.replace(".module.", "."): value for name, value in state_dict.items()}
