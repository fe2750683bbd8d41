"""LightGlue for a fixed number of features, padding included: kornia's layers, run without lists of varying length.

Lindenberger et al., LightGlue, ICCV 2023: the layers of section 3.1, the assignment of section 3.2. Early stopping and
pruning (section 3.3) change the shapes from pair to pair and are left out; they save time, not matches.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from kornia.feature import LightGlue
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "PaddedLightGlue",
    "lighterglue",
    "lightglue_of_128",
    "lightglue_of_256",
    "rename_layers",
    "take_matcher",
]

_ABSENT = -1e4  # logit of a padding row; finite, so that a set without any feature gives no NaN, also in FP16
_OLDER_NAME = re.compile(r"^(self_attn|cross_attn)\.([0-9]+)\.")
_NAME = r"transformers.\2.\1."
_UNREAD_NAME = re.compile(r"log_assignment\.[0-9]+\.r")
_MATCH_THRESHOLD = 0.1  # smallest probability of a match, the authors' default


class PaddedLightGlue(nn.Module):
    """Matches two padded sets of local features.

    The layers are those of `kornia.feature.LightGlue`, whose `forward` this one follows for sets without padding.

    Args:
        descriptor_dimension: D of the features.
        width: of the layers.
        layers: number of them.
        heads: of the attention.
    """

    def __init__(self, descriptor_dimension: int, width: int = 256, layers: int = 9, heads: int = 4) -> None:
        super().__init__()
        self.net = LightGlue(
            features=None, input_dim=descriptor_dimension, descriptor_dim=width, n_layers=layers, num_heads=heads
        )

    def forward(
        self,
        keypoints0: Tensor,
        scores0: Tensor,
        descriptors0: Tensor,
        keypoints1: Tensor,
        scores1: Tensor,
        descriptors1: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Match.

        Args:
            keypoints0, keypoints1: (1, K, 2), (x, y) from the image's centre, in halves of its longer side: -1..1.
            scores0, scores1: (1, K); rows with a score of 0 or less are padding.
            descriptors0, descriptors1: (1, K, D).

        Returns:
            matches (1, K), for each row of the first set the matched row of the second, -1 for none; scores (1, K),
            probability of the match, 0 for none. Both float32, which holds every index exactly.
        """
        is_padding0, is_padding1 = scores0 <= 0, scores1 <= 0
        first, second = self.net.input_proj(descriptors0), self.net.input_proj(descriptors1)
        encoding0, encoding1 = self.net.posenc(keypoints0), self.net.posenc(keypoints1)
        bias0, bias1 = (_attention_bias(item, first.dtype) for item in (is_padding0, is_padding1))
        for layer in self.net.transformers:
            first = _attend_itself(layer.self_attn, first, encoding0, bias0)
            second = _attend_itself(layer.self_attn, second, encoding1, bias1)
            first, second = _attend_each_other(layer.cross_attn, first, second, bias0, bias1)
        return _assign(self.net.log_assignment[-1], first, second, is_padding0, is_padding1)


def _attention_bias(is_padding: Tensor, dtype: torch.dtype) -> Tensor:
    """(1, K) to what is added to the logits of the keys: (1, 1, 1, K)."""
    return (is_padding.to(dtype) * _ABSENT)[:, None, None, :]


def _attend_itself(block: nn.Module, features: Tensor, encoding: Tensor, bias: Tensor) -> Tensor:
    projected = block.Wqkv(features).unflatten(-1, (block.num_heads, -1, 3)).transpose(1, 2)
    query, key, value = (projected[..., index] for index in range(3))
    context = functional.scaled_dot_product_attention(
        _rotate(query, encoding), _rotate(key, encoding), value, attn_mask=bias
    )
    message = block.out_proj(context.transpose(1, 2).flatten(-2))
    updated: Tensor = features + block.ffn(torch.cat((features, message), -1))
    return updated


def _rotate(values: Tensor, encoding: Tensor) -> Tensor:
    """Rotary encoding: pairs of neighbouring channels turn by the angle of their frequency."""
    pairs = values.unflatten(-1, (-1, 2))
    turned = torch.stack((-pairs[..., 1], pairs[..., 0]), dim=-1).flatten(-2)
    return values * encoding[0] + turned * encoding[1]


def _attend_each_other(
    block: nn.Module, first: Tensor, second: Tensor, bias0: Tensor, bias1: Tensor
) -> tuple[Tensor, Tensor]:
    def by_head(values: Tensor) -> Tensor:
        return values.unflatten(-1, (block.heads, -1)).transpose(1, 2)

    key0, key1 = by_head(block.to_qk(first)), by_head(block.to_qk(second))
    value0, value1 = by_head(block.to_v(first)), by_head(block.to_v(second))
    message0 = functional.scaled_dot_product_attention(key0, key1, value1, attn_mask=bias1)
    message1 = functional.scaled_dot_product_attention(key1, key0, value0, attn_mask=bias0)
    message0, message1 = (block.to_out(item.transpose(1, 2).flatten(-2)) for item in (message0, message1))
    return (
        first + block.ffn(torch.cat((first, message0), -1)),
        second + block.ffn(torch.cat((second, message1), -1)),
    )


def _assign(
    block: nn.Module, first: Tensor, second: Tensor, is_padding0: Tensor, is_padding1: Tensor
) -> tuple[Tensor, Tensor]:
    """Mutual best pairs of the double softmax times both matchabilities, in float32."""
    similarity = block.final_proj(first).float() @ block.final_proj(second).float().transpose(1, 2)
    similarity = similarity / block.dim**0.5
    similarity = similarity + _ABSENT * (is_padding0.float().unsqueeze(2) + is_padding1.float().unsqueeze(1))
    matchable0, matchable1 = (
        functional.logsigmoid(block.matchability(item).float().squeeze(-1)) for item in (first, second)
    )
    log_assignment = (
        functional.log_softmax(similarity, 2)
        + functional.log_softmax(similarity, 1)
        + matchable0.unsqueeze(2)
        + matchable1.unsqueeze(1)
    )
    best0, partner0 = log_assignment.max(2)
    partner1 = log_assignment.argmax(1)
    rows = torch.arange(partner0.shape[1], device=partner0.device).unsqueeze(0)
    probability = best0.exp()
    is_match = (partner1.gather(1, partner0) == rows) & (probability > _MATCH_THRESHOLD)
    is_match = is_match & ~is_padding0 & ~is_padding1.gather(1, partner0)
    matches = torch.where(is_match, partner0.float(), torch.full_like(probability, -1.0))
    return matches, torch.where(is_match, probability, torch.zeros_like(probability))


def lightglue_of_128() -> PaddedLightGlue:
    """For descriptors of 128: DISK and ALIKED."""
    return PaddedLightGlue(128)


def lightglue_of_256() -> PaddedLightGlue:
    """For descriptors of 256: SuperPoint."""
    return PaddedLightGlue(256)


def lighterglue() -> PaddedLightGlue:
    """For XFeat: six narrow layers with one head."""
    return PaddedLightGlue(64, width=96, layers=6, heads=1)


def rename_layers(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring the authors' names, the older ones too, to `net.transformers.N.{self,cross}_attn`.

    The thresholds of early stopping, which checkpoints may lack, are constants and are filled in. Some older
    checkpoints hold a number `r` for each assignment, which no published code reads: it is dropped.
    """
    renamed = {
        f"net.{_OLDER_NAME.sub(_NAME, name)}": value
        for name, value in state_dict.items()
        if not _UNREAD_NAME.fullmatch(name)
    }
    layers = {int(match[1]) for name in renamed if (match := re.match(r"net\.transformers\.([0-9]+)\.", name))}
    if layers and "net.confidence_thresholds" not in renamed:
        count = max(layers) + 1
        depths = torch.arange(count, dtype=torch.float64)
        renamed["net.confidence_thresholds"] = (0.8 + 0.1 * torch.exp(-4.0 * depths / count)).clamp(0, 1).float()
    return renamed


def take_matcher(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take the matcher out of the checkpoint of XFeat with LighterGlue, which holds both."""
    prefix = "matcher."
    matcher = {name.removeprefix(prefix): value for name, value in state_dict.items() if name.startswith(prefix)}
    return rename_layers(matcher or state_dict)
