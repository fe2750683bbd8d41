"""SALAD: optimal transport of patch tokens to clusters, with a dustbin.

Izquierdo and Civera, Optimal Transport Aggregation for Visual Place Recognition, CVPR 2024, section 3.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Salad"]

_HIDDEN = 512
_ITERATIONS = 3


class Salad(nn.Module):
    """Tokens to a descriptor of `token_width + cluster_width * clusters`.

    The parameter names are those of github.com/serizba/salad.

    Args:
        width: channels of the tokens.
        clusters, cluster_width: number of clusters and channels of each.
        token_width: channels that the class token adds.
    """

    def __init__(self, width: int, clusters: int = 64, cluster_width: int = 128, token_width: int = 256) -> None:
        super().__init__()
        self.token_features = nn.Sequential(nn.Linear(width, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, token_width))
        self.cluster_features = _two_layers(width, cluster_width)
        self.score = _two_layers(width, clusters)
        self.dust_bin = nn.Parameter(torch.tensor(1.0))

    def forward(self, token: Tensor, patches: Tensor) -> Tensor:
        """Aggregate.

        Args:
            token: (N, C), of the class.
            patches: (N, C, H, W).

        Returns:
            (N, D), float32, L2-normalised.
        """
        features = self.cluster_features(patches).flatten(2).float()
        assignment = _transport(self.score(patches).flatten(2).float(), self.dust_bin.float())
        clusters = torch.einsum("ncp,nkp->nck", features, assignment)
        parts = (
            functional.normalize(self.token_features(token).float(), dim=1),
            functional.normalize(clusters, dim=1).flatten(1),
        )
        return functional.normalize(torch.cat(parts, dim=1), dim=1)


def _two_layers(width: int, out_width: int) -> nn.Sequential:
    # The second place is held by a dropout in training.
    return nn.Sequential(nn.Conv2d(width, _HIDDEN, 1), nn.Identity(), nn.ReLU(), nn.Conv2d(_HIDDEN, out_width, 1))


def _transport(scores: Tensor, dust_bin: Tensor) -> Tensor:
    """Sinkhorn's algorithm on logarithms: (N, K, P) scores to the share of each patch that goes to each cluster.

    Each patch has a mass of one, each cluster takes one, the dustbin the rest; shares are multiples of that mass.
    """
    clusters, patches = scores.shape[1:]
    couplings = torch.cat((scores, dust_bin.expand(scores.shape[0], 1, patches)), dim=1)
    rows = torch.zeros(clusters + 1, device=scores.device)
    rows[clusters] = math.log(patches - clusters)
    row_potential = torch.zeros_like(couplings[:, :, 0])
    column_potential = torch.zeros_like(couplings[:, 0])
    for _ in range(_ITERATIONS):
        row_potential = rows - torch.logsumexp(couplings + column_potential.unsqueeze(1), dim=2)
        column_potential = -torch.logsumexp(couplings + row_potential.unsqueeze(2), dim=1)
    shares = torch.exp(couplings + row_potential.unsqueeze(2) + column_potential.unsqueeze(1))
    return shares[:, :clusters]
