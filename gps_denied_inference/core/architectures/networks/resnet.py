"""ResNet backbones: the layers of transformers, whose stride lies in the 3×3 convolution as torchvision's does.

He et al., Deep Residual Learning for Image Recognition, CVPR 2016, table 1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn
from transformers.models.resnet.configuration_resnet import ResNetConfig
from transformers.models.resnet.modeling_resnet import ResNetEmbeddings, ResNetEncoder

__all__ = ["ResNetBackbone", "rename_backbone"]

_DEPTHS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}
_CHANNELS = {18: (64, 128, 256, 512), 50: (256, 512, 1024, 2048)}

_NAMES = (
    (re.compile(r"^conv1\."), "embedder.embedder.convolution."),
    (re.compile(r"^bn1\."), "embedder.embedder.normalization."),
    (re.compile(r"^layer(\d)\.(\d+)\.downsample\.0\."), r"encoder.stages.{stage}.layers.\2.shortcut.convolution."),
    (re.compile(r"^layer(\d)\.(\d+)\.downsample\.1\."), r"encoder.stages.{stage}.layers.\2.shortcut.normalization."),
    (re.compile(r"^layer(\d)\.(\d+)\.conv(\d)\."), r"encoder.stages.{stage}.layers.\2.layer.{part}.convolution."),
    (re.compile(r"^layer(\d)\.(\d+)\.bn(\d)\."), r"encoder.stages.{stage}.layers.\2.layer.{part}.normalization."),
)


class ResNetBackbone(nn.Module):
    """Image to features.

    Args:
        depth: 18 or 50.
        stages: how many of the four are kept.
    """

    def __init__(self, depth: int, stages: int = 4) -> None:
        super().__init__()
        config = ResNetConfig(
            depths=list(_DEPTHS[depth][:stages]),
            hidden_sizes=list(_CHANNELS[depth][:stages]),
            layer_type="basic" if depth == 18 else "bottleneck",
        )
        self.channels = _CHANNELS[depth][stages - 1]
        self.embedder = ResNetEmbeddings(config)
        self.encoder = ResNetEncoder(config)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, C, H / 2^(stages + 1), W / 2^(stages + 1))."""
        features: Tensor = self.encoder(self.embedder(image)).last_hidden_state
        return features


def rename_backbone(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring torchvision's names to those of transformers."""
    return {_renamed(name): value for name, value in state_dict.items()}


def _renamed(name: str) -> str:
    for pattern, replacement in _NAMES:
        match = pattern.match(name)
        if match is None:
            continue
        numbers = [int(group) for group in match.groups()]
        places = {"stage": numbers[0] - 1, "part": numbers[2] - 1 if len(numbers) > 2 else 0} if numbers else {}
        return match.expand(replacement).format(**places) + name[match.end() :]
    return name
