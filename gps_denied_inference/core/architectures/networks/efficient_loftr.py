"""Efficient LoFTR with a fixed number of correspondences: the features of transformers, matched with fixed shapes.

Wang et al., Efficient LoFTR, CVPR 2024, section 3. The refinement is ours: that of transformers 5.23 takes its softmax
and its window positions over the axis of the matches, so that its points don't move with the features.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.efficientloftr.configuration_efficientloftr import EfficientLoFTRConfig
from transformers.models.efficientloftr.modeling_efficientloftr import (
    EfficientLoFTRFineFusionLayer,
    EfficientLoFTRModel,
)

from gps_denied_inference.core.architectures.networks.keypoint_selection import pixels_from_index

__all__ = ["EfficientLoftr", "rename_layers"]

_CELL = 8  # pixels between two coarse features
_CENTRE = (_CELL - 1) / 2


class EfficientLoftr(nn.Module):
    """Two gray images to their best correspondences, padded to a fixed number.

    Args:
        max_matches: rows of each output.
        config: sizes and thresholds; the published ones, when None.
    """

    def __init__(self, max_matches: int = 1024, config: EfficientLoFTRConfig | None = None) -> None:
        super().__init__()
        self._config = EfficientLoFTRConfig() if config is None else config
        self.net = EfficientLoFTRModel(self._config)
        self.refinement_layer = EfficientLoFTRFineFusionLayer(self._config)
        self._max_matches = max_matches

    def forward(self, image0: Tensor, image1: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Match.

        Args:
            image0, image1: (1, 1, H, W), gray in 0..1, H and W multiples of 32.

        Returns:
            points0, points1 (1, K, 2), (x, y) in pixels of the input, centres at integers; scores (1, K), 0..1,
            descending. All float32. Rows without a correspondence are zero in all three.
        """
        pyramid = self.net.backbone(torch.cat((image0, image1)))
        coarse, residuals = pyramid[-1], pyramid[:-1]
        cosines, sines = (
            item.expand(2, -1, -1, -1).reshape(2, -1, coarse.shape[1]) for item in self.net.rotary_emb(coarse)
        )
        coarse = self.net.local_feature_transformer(coarse.unsqueeze(0), position_embeddings=(cosines, sines))
        scores, index0, index1 = self._match_cells(coarse[0].float())
        windows0, windows1 = self.refinement_layer(coarse / self._config.hidden_size**0.5, residuals)
        points0, points1 = self._refine(_rows(windows0[0], index0).float(), _rows(windows1[0], index1).float())
        width = coarse.shape[-1]
        points0 = points0 + pixels_from_index(index0, width) * _CELL
        points1 = points1 + pixels_from_index(index1, width) * _CELL
        is_match = (scores > 0).float()
        mask = is_match.unsqueeze(-1)
        return (points0 * mask).unsqueeze(0), (points1 * mask).unsqueeze(0), (scores * is_match).unsqueeze(0)

    def _match_cells(self, coarse: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mutually best cells: scores (K,), descending, -1 for padding, and flat indices of both cells (K,)."""
        config = self._config
        channels, height, width = coarse.shape[1:]
        first, second = (features.flatten(1).T / channels**0.5 for features in coarse)
        similarity = first @ second.T / config.coarse_matching_temperature
        confidence = functional.softmax(similarity, 0) * functional.softmax(similarity, 1)
        best, partner = confidence.max(1)
        back = confidence.argmax(0)
        cells = torch.arange(height * width, device=coarse.device)
        inside = _inside(height, width, config.coarse_matching_border_removal, coarse.device)
        is_match = (back[partner] == cells) & (best > config.coarse_matching_threshold)
        is_match = is_match & inside & inside[partner]
        ranked = torch.where(is_match, best, torch.full_like(best, -1.0))
        count = min(self._max_matches, height * width)
        scores, index0 = torch.topk(ranked, count)
        index1 = partner[index0]
        missing = self._max_matches - count
        if missing:
            scores = functional.pad(scores, (0, missing), value=-1.0)
            index0, index1 = (functional.pad(index, (0, missing)) for index in (index0, index1))
        return scores, index0, index1

    def _refine(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Move both points to the best pair of pixels, then the second below a pixel.

        Args:
            first: (K, 64, C), features of the pixels of a cell.
            second: (K, 100, C), those of the cell in the other image with a border of one pixel.

        Returns:
            Two offsets (K, 2) from the cells' places, pixels.
        """
        config = self._config
        count, pixels, channels = first.shape
        side = config.fine_kernel_size
        sliced = config.fine_matching_slice_dim
        coarse_part = channels - sliced
        similarity = first[..., :coarse_part] @ second[..., :coarse_part].transpose(1, 2) / channels
        confidence = functional.softmax(similarity, 1) * functional.softmax(similarity, 2)
        framed = confidence.reshape(count, pixels, side + 2, side + 2)[..., 1:-1, 1:-1]
        best = framed.flatten(1).argmax(1)
        pixel0 = torch.div(best, pixels, rounding_mode="floor")
        pixel1 = best % pixels
        around = first[..., coarse_part:] @ second[..., coarse_part:].transpose(1, 2) / sliced**0.5
        rows = torch.gather(around, 1, pixel0[:, None, None].expand(-1, 1, around.shape[2])).squeeze(1)
        steps = torch.arange(3, device=first.device)
        top = torch.div(pixel1, side, rounding_mode="floor")
        left = pixel1 % side
        neighbours = (top[:, None, None] + steps[:, None]) * (side + 2) + left[:, None, None] + steps
        logits = torch.gather(rows, 1, neighbours.flatten(1)) / config.fine_matching_regress_temperature
        weights = functional.softmax(logits, 1)
        directions = torch.stack((steps.repeat(3), steps.repeat_interleave(3)), dim=-1).float() - 1.0
        # The published positions count from the middle of a cell: features of a cell are centred at its first pixel,
        # and enlarging them moved what they show by as much.
        points0, points1 = (pixels_from_index(pixel, side) - _CENTRE for pixel in (pixel0, pixel1))
        return points0, points1 + weights @ directions


def _rows(windows: Tensor, index: Tensor) -> Tensor:
    """(L, P, C) at (K,) to (K, P, C)."""
    return windows[index]


def _inside(height: int, width: int, border: int, device: torch.device) -> Tensor:
    """(H · W,), which cells are no border."""
    rows = torch.arange(height, device=device)
    columns = torch.arange(width, device=device)
    is_row = (rows >= border) & (rows < height - border)
    is_column = (columns >= border) & (columns < width - border)
    return (is_row.unsqueeze(1) & is_column).flatten()


def _layer(match: re.Match[str]) -> str:
    """Even layers attend inside an image, odd ones across."""
    number = int(match[1])
    kind = ("self", "cross")[number % 2]
    return f"net.local_feature_transformer.layers.{number // 2}.{kind}_attention."


_STAGE = r"^matcher\.backbone\.layer(\d+)\."
_COARSE = r"^matcher\.loftr_coarse\.layers\.(\d+)\."
_FINE = r"^matcher\.fine_preprocess\."
_NAMES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile(_STAGE + r"rbr_"), r"net.backbone.stages.\1.blocks.0.rbr_"),
    (re.compile(_STAGE + r"(\d+)\.rbr_"), r"net.backbone.stages.\1.blocks.\2.rbr_"),
    (re.compile(r"\.rbr_dense\.conv\."), ".conv1.conv."),
    (re.compile(r"\.rbr_dense\.bn\."), ".conv1.norm."),
    (re.compile(r"\.rbr_1x1\.conv\."), ".conv2.conv."),
    (re.compile(r"\.rbr_1x1\.bn\."), ".conv2.norm."),
    (re.compile(r"\.rbr_identity\."), ".identity."),
    (re.compile(_COARSE + r"aggregate\."), lambda match: _layer(match) + "aggregation.q_aggregation."),
    (re.compile(_COARSE + r"norm1\."), lambda match: _layer(match) + "aggregation.norm."),
    (re.compile(_COARSE + r"([qkv])_proj\."), lambda match: f"{_layer(match)}attention.{match[2]}_proj."),
    (re.compile(_COARSE + r"merge\."), lambda match: _layer(match) + "attention.o_proj."),
    (re.compile(_COARSE + r"mlp\.0\."), lambda match: _layer(match) + "mlp.fc1."),
    (re.compile(_COARSE + r"mlp\.2\."), lambda match: _layer(match) + "mlp.fc2."),
    (re.compile(_COARSE + r"norm2\."), lambda match: _layer(match) + "mlp.layer_norm."),
    (re.compile(_FINE + r"layer3_outconv\."), "refinement_layer.out_conv."),
    (re.compile(_FINE + r"layer2_outconv\."), "refinement_layer.out_conv_layers.0.out_conv1."),
    (re.compile(_FINE + r"layer2_outconv2\.0\."), "refinement_layer.out_conv_layers.0.out_conv2."),
    (re.compile(_FINE + r"layer2_outconv2\.1\."), "refinement_layer.out_conv_layers.0.batch_norm."),
    (re.compile(_FINE + r"layer2_outconv2\.3\."), "refinement_layer.out_conv_layers.0.out_conv3."),
    (re.compile(_FINE + r"layer1_outconv\."), "refinement_layer.out_conv_layers.1.out_conv1."),
    (re.compile(_FINE + r"layer1_outconv2\.0\."), "refinement_layer.out_conv_layers.1.out_conv2."),
    (re.compile(_FINE + r"layer1_outconv2\.1\."), "refinement_layer.out_conv_layers.1.batch_norm."),
    (re.compile(_FINE + r"layer1_outconv2\.3\."), "refinement_layer.out_conv_layers.1.out_conv3."),
)


def rename_layers(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring the names of the authors' checkpoint (eloftr_outdoor.ckpt) to those of transformers."""
    renamed = {}
    for name, value in state_dict.items():
        for pattern, replacement in _NAMES:
            name = pattern.sub(replacement, name)
        renamed[name] = value
    return renamed
