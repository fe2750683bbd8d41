"""BoQ: learnt queries that attend to the features of two transformer layers.

Ali-bey et al., BoQ: A Place is Worth a Bag of Learnable Queries, CVPR 2024, section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["BagOfQueries"]

_CHANNELS_PER_HEAD = 64


class BagOfQueries(nn.Module):
    """Features to a descriptor of `width * rows`.

    The parameter names are those of github.com/amaralibey/Bag-of-Queries.

    Args:
        in_channels: of the features.
        width: channels inside.
        queries: learnt queries of each layer.
        layers: number of them.
        rows: to which the outputs of all queries are mixed.
    """

    def __init__(self, in_channels: int, width: int = 384, queries: int = 64, layers: int = 2, rows: int = 32) -> None:
        super().__init__()
        self.proj_c = nn.Conv2d(in_channels, width, kernel_size=3, padding=1)
        self.norm_input = nn.LayerNorm(width)
        self.boqs = nn.ModuleList([_Bag(width, queries) for _ in range(layers)])
        self.fc = nn.Linear(layers * queries, rows)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) to (N, D), float32, L2-normalised."""
        tokens = self.norm_input(self.proj_c(features).flatten(2).transpose(1, 2))
        answers = []
        for bag in self.boqs:
            tokens, answer = bag(tokens)
            answers.append(answer)
        mixed = self.fc(torch.cat(answers, dim=1).transpose(1, 2))
        return functional.normalize(mixed.flatten(1).float(), dim=1)


class _Bag(nn.Module):
    """A layer and its queries."""

    def __init__(self, width: int, queries: int) -> None:
        super().__init__()
        heads = width // _CHANNELS_PER_HEAD
        # Torch's own modules hold the parameters under their published names; what they compute is written out below,
        # since their fused paths cannot be exported.
        self.encoder = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, batch_first=True)
        self.queries = nn.Parameter(torch.randn(1, queries, width))
        self.self_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm_q = nn.LayerNorm(width)
        self.cross_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm_out = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(N, P, C) to the next layer's tokens and the queries' answers (N, Q, C)."""
        layer = self.encoder
        tokens = layer.norm1(tokens + _attend(layer.self_attn, tokens, tokens))
        tokens = layer.norm2(tokens + layer.linear2(functional.relu(layer.linear1(tokens))))
        queries = self.norm_q(self.queries + _attend(self.self_attn, self.queries, self.queries))
        return tokens, self.norm_out(_attend(self.cross_attn, queries, tokens))


def _attend(attention: nn.MultiheadAttention, queries: Tensor, keys: Tensor) -> Tensor:
    width, heads = attention.embed_dim, attention.num_heads
    weights, biases = attention.in_proj_weight.split(width), attention.in_proj_bias.split(width)

    def project(index: int, values: Tensor) -> Tensor:
        projected = functional.linear(values, weights[index], biases[index])
        return projected.unflatten(2, (heads, width // heads)).transpose(1, 2)

    context = functional.scaled_dot_product_attention(project(0, queries), project(1, keys), project(2, keys))
    attended: Tensor = attention.out_proj(context.transpose(1, 2).flatten(2))
    return attended
