"""DINOv2 image transformers of patch size 14, run layer by layer: the layers are those of transformers.

Oquab et al., DINOv2, TMLR 2024. The positions are resampled as Meta's code does it, whose factor carries an offset of a
tenth of a patch; transformers leaves the offset out, and heads that were trained behind Meta's code have seen it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.dinov2.configuration_dinov2 import Dinov2Config
from transformers.models.dinov2.modeling_dinov2 import Dinov2Model

__all__ = ["VIT_B14", "VIT_S14", "Dinov2Backbone", "VitSize", "rename_backbone"]

_PATCH = 14
_TRAINED_GRID = 37  # 518 / 14: the published positions
_OFFSET = 0.1

_NAMES = (
    (re.compile(r"^cls_token$"), "embeddings.cls_token"),
    (re.compile(r"^mask_token$"), "embeddings.mask_token"),
    (re.compile(r"^pos_embed$"), "embeddings.position_embeddings"),
    (re.compile(r"^patch_embed\.proj\."), "embeddings.patch_embeddings.projection."),
    (re.compile(r"^norm\."), "layernorm."),
    (re.compile(r"^blocks\.(\d+)\.attn\.proj\."), r"encoder.layer.\1.attention.o_proj."),
    (re.compile(r"^blocks\.(\d+)\.ls([12])\.gamma$"), r"encoder.layer.\1.layer_scale\2.lambda1"),
    (re.compile(r"^blocks\.(\d+)\."), r"encoder.layer.\1."),
)
_JOINT_PROJECTION = re.compile(r"^blocks\.(\d+)\.attn\.qkv\.(weight|bias)$")


@dataclass(frozen=True, slots=True)
class VitSize:
    """Size of an image transformer.

    Attributes:
        width: channels of a token.
        depth: layers.
        heads: of the attention.
    """

    width: int
    depth: int
    heads: int


VIT_S14 = VitSize(width=384, depth=12, heads=6)
VIT_B14 = VitSize(width=768, depth=12, heads=12)


class Dinov2Backbone(nn.Module):
    """Image to tokens.

    Args:
        size: of the transformer.
        image_size: height and width of the input, a multiple of 14.
        has_final_norm: apply the last layer norm; some heads were trained without.
    """

    def __init__(self, size: VitSize, image_size: int, *, has_final_norm: bool = True) -> None:
        super().__init__()
        config = Dinov2Config(
            hidden_size=size.width,
            num_hidden_layers=size.depth,
            num_attention_heads=size.heads,
            image_size=_TRAINED_GRID * _PATCH,
            patch_size=_PATCH,
        )
        self.net = Dinov2Model(config)
        self._has_final_norm = has_final_norm
        self._grid = image_size // _PATCH
        # Constant, so not part of a checkpoint.
        self.register_buffer("_resampling", _resampling(self._grid), persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Embed.

        Args:
            image: (1, 3, S, S), RGB, ImageNet's mean and standard deviation taken out.

        Returns:
            class token (1, C); patch tokens (1, C, S / 14, S / 14).
        """
        embeddings = self.net.embeddings
        patches = embeddings.patch_embeddings.projection(image).flatten(2).transpose(1, 2)
        tokens = torch.cat((embeddings.cls_token, patches), dim=1) + self._positions()
        for layer in self.net.encoder.layer:
            tokens = layer(tokens)
        if self._has_final_norm:
            tokens = self.net.layernorm(tokens)
        patches = tokens[:, 1:].transpose(1, 2).unflatten(2, (self._grid, self._grid))
        return tokens[:, 0], patches

    def _positions(self) -> Tensor:
        positions = self.net.embeddings.position_embeddings
        grid = positions[:, 1:].float().unflatten(1, (_TRAINED_GRID, _TRAINED_GRID))
        resampling = self._resampling.float()
        # Cubic interpolation is linear in the values and separable: two products of matrices, which every runtime has.
        resampled = torch.einsum("hi,wj,bijc->bhwc", resampling, resampling, grid).flatten(1, 2)
        return torch.cat((positions[:, :1], resampled.to(positions.dtype)), dim=1)


def _resampling(grid: int) -> Tensor:
    """Matrix (grid, 37) that resamples a row of positions."""
    unit = torch.eye(_TRAINED_GRID).reshape(1, _TRAINED_GRID, _TRAINED_GRID, 1)
    factor = (grid + _OFFSET) / _TRAINED_GRID
    columns = functional.interpolate(unit, scale_factor=(factor, 1.0), mode="bicubic", align_corners=False)
    return columns.reshape(_TRAINED_GRID, grid).T.contiguous()


def rename_backbone(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring the names of Meta's checkpoints (dinov2_vit*14_pretrain.pth) to those of transformers.

    The joint projection to queries, keys and values is split into three.
    """
    renamed: dict[str, Tensor] = {}
    for name, value in state_dict.items():
        joint = _JOINT_PROJECTION.match(name)
        if joint and value.shape[0] % 3 == 0:
            for part, chunk in zip(("q_proj", "k_proj", "v_proj"), value.chunk(3), strict=True):
                renamed[f"encoder.layer.{joint[1]}.attention.{part}.{joint[2]}"] = chunk.clone()
            continue
        for pattern, replacement in _NAMES:
            changed, count = pattern.subn(replacement, name)
            if count:
                name = changed
                break
        renamed[name] = value
    return renamed
