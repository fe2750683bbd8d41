"""DINOv3 ViT-S/16 with GeM: the transformer of transformers, pooled as DINOv2 is.

Siméoni et al., DINOv3, arXiv 2508.10104.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn
from transformers.models.dinov3_vit.configuration_dinov3_vit import DINOv3ViTConfig
from transformers.models.dinov3_vit.modeling_dinov3_vit import DINOv3ViTModel

from gps_denied_inference.core.architectures.networks.gem import pool_by_signed_cube

__all__ = ["Dinov3Gem", "dinov3_vits16", "rename_layers"]

_PATCH = 16
_IMAGE_SIZE = 320

_NAMES = (
    (re.compile(r"^(cls_token|mask_token)$"), r"embeddings.\1"),
    (re.compile(r"^storage_tokens$"), "embeddings.register_tokens"),
    (re.compile(r"^patch_embed\.proj\."), "embeddings.patch_embeddings."),
    (re.compile(r"^blocks\.(\d+)\.attn\.proj\."), r"model.layer.\1.attention.o_proj."),
    (re.compile(r"^blocks\.(\d+)\.ls([12])\.gamma$"), r"model.layer.\1.layer_scale\2.lambda1"),
    (re.compile(r"^blocks\.(\d+)\.mlp\.fc1\."), r"model.layer.\1.mlp.up_proj."),
    (re.compile(r"^blocks\.(\d+)\.mlp\.fc2\."), r"model.layer.\1.mlp.down_proj."),
    (re.compile(r"^blocks\.(\d+)\."), r"model.layer.\1."),
)
_JOINT_PROJECTION = re.compile(r"^blocks\.(\d+)\.attn\.qkv\.(weight|bias)$")
# The periods are constants here; the mask only says that keys have no bias.
_UNUSED = re.compile(r"^rope_embed\.periods$|^blocks\.\d+\.attn\.qkv\.bias_mask$")


class Dinov3Gem(nn.Module):
    """Image to a unit vector as long as a token.

    Args:
        width, depth, heads: of the transformer.
        image_size: height and width of the input, a multiple of 16.
        registers: tokens that belong to no patch.
    """

    def __init__(
        self, width: int = 384, depth: int = 12, heads: int = 6, image_size: int = _IMAGE_SIZE, registers: int = 4
    ) -> None:
        super().__init__()
        config = DINOv3ViTConfig(
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=depth,
            num_attention_heads=heads,
            num_register_tokens=registers,
            image_size=image_size,
            patch_size=_PATCH,
        )
        self.net = DINOv3ViTModel(config)
        self._grid = image_size // _PATCH
        self._first_patch = 1 + registers

    def forward(self, image: Tensor) -> Tensor:
        """Describe.

        Args:
            image: (1, 3, S, S), RGB, ImageNet's mean and standard deviation taken out.

        Returns:
            (1, C), float32, L2-normalised.
        """
        tokens = self.net(image).last_hidden_state[:, self._first_patch :]
        return pool_by_signed_cube(tokens.transpose(1, 2).unflatten(2, (self._grid, self._grid)))


def dinov3_vits16() -> Dinov3Gem:
    """The small transformer."""
    return Dinov3Gem()


def rename_layers(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring the names of Meta's checkpoint to those of transformers; split the joint q, k, v; keys have no bias."""
    renamed: dict[str, Tensor] = {}
    for name, value in state_dict.items():
        if _UNUSED.match(name):
            continue
        joint = _JOINT_PROJECTION.match(name)
        if joint and value.shape[0] % 3 == 0:
            for part, chunk in zip(("q_proj", "k_proj", "v_proj"), value.chunk(3), strict=True):
                if (part, joint[2]) != ("k_proj", "bias"):
                    renamed[f"net.model.layer.{joint[1]}.attention.{part}.{joint[2]}"] = chunk.clone()
            continue
        for pattern, replacement in _NAMES:
            changed, count = pattern.subn(replacement, name)
            if count:
                name = changed
                break
        if name == "embeddings.mask_token":
            value = value.reshape(1, 1, -1)  # Meta's has one axis less; unused in inference
        renamed[f"net.{name}"] = value
    return renamed
