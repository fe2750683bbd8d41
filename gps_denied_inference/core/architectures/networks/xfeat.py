"""XFeat with a fixed number of keypoints: kornia's network, and a detection whose shapes don't depend on the image."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from kornia.feature.xfeat import XFeatModel
from kornia.geometry.subpix import nms2d
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["XFeatTopK", "prefix_backbone"]

_CELL = 8
_NMS_WINDOW = (5, 5)
_DETECTION_THRESHOLD = 0.05  # of the heatmap, as in the authors' code


class XFeatTopK(nn.Module):
    """Image to the best keypoints, padded to a fixed number.

    The selection is that of `kornia.feature.XFeat.detectAndCompute` (strict maxima of the heatmap in their 5×5 window,
    above the threshold, ranked by heatmap times reliability), without its lists of varying length.

    Args:
        max_keypoints: rows of each output.
    """

    def __init__(self, max_keypoints: int = 2048) -> None:
        super().__init__()
        self.net = XFeatModel()
        self._max_keypoints = max_keypoints

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Detect and describe.

        Args:
            image: (1, 3, H, W), RGB in 0..1, H and W multiples of 32.

        Returns:
            keypoints (1, K, 2), (x, y) in pixels of the input, centres at integers; scores (1, K), descending;
            descriptors (1, K, 64), L2-normalised. All float32. Rows without a keypoint are zero in all three.
        """
        height, width = image.shape[-2:]
        features, logits, reliability = (output.float() for output in self.net(image))
        scores, index = self._rank(logits, reliability, height, width)
        has_keypoint = scores > 0
        keypoints = torch.stack((index % width, torch.div(index, width, rounding_mode="floor")), dim=-1).float()
        grid = _sampling_grid(keypoints, height, width).unsqueeze(1)
        sampled = functional.grid_sample(
            functional.normalize(features, dim=1), grid, mode="bicubic", align_corners=False
        )
        descriptors = functional.normalize(sampled.squeeze(2).transpose(1, 2), dim=-1)
        mask = has_keypoint.unsqueeze(-1).float()
        return keypoints * mask, scores * has_keypoint.float(), descriptors * mask

    def _rank(self, logits: Tensor, reliability: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Scores (1, K), descending, and flat pixel indices (1, K); a score of -1 marks padding."""
        probability = functional.softmax(logits, dim=1)[:, : _CELL * _CELL]
        heatmap = functional.pixel_shuffle(probability, _CELL)
        is_keypoint = nms2d(heatmap, _NMS_WINDOW, mask_only=True) & (heatmap > _DETECTION_THRESHOLD)
        columns = torch.arange(width, device=logits.device, dtype=torch.float32)
        rows = torch.arange(height, device=logits.device, dtype=torch.float32)
        pixels = torch.stack((columns.expand(height, width), rows.unsqueeze(1).expand(height, width)), dim=-1)
        grid = _sampling_grid(pixels, height, width).unsqueeze(0)
        at_pixels = functional.grid_sample(reliability, grid, mode="bilinear", align_corners=False)
        scores = torch.where(is_keypoint, heatmap * at_pixels, torch.full_like(heatmap, -1.0))
        best, index = torch.topk(scores.flatten(1), self._max_keypoints, dim=1)
        return best, index


def _sampling_grid(pixels: Tensor, height: int, width: int) -> Tensor:
    """Pixels (…, 2) to the -1..1 of `grid_sample`.

    The weights were trained with the denominator `size - 1` although sampling does not align corners: keep both.
    """
    # Without a tensor of the two sizes: it would come from the CPU, which a CUDA graph cannot record.
    relative = torch.stack((pixels[..., 0] / (width - 1), pixels[..., 1] / (height - 1)), dim=-1)
    return 2.0 * relative - 1.0


def prefix_backbone(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The published checkpoint holds the network alone; here it is the member `net`."""
    return {f"net.{name}": value for name, value in state_dict.items()}
