"""DISK with a fixed number of keypoints: kornia's network, and a selection whose shapes don't depend on the image."""

from __future__ import annotations

from kornia.feature import DISK
from torch import Tensor
from torch.nn import functional

from gps_denied_inference.core.architectures.networks.keypoint_selection import (
    gather_rows,
    pixels_from_index,
    select_maxima,
)

__all__ = ["DiskTopK"]

_NMS_RADIUS = 2  # a 5×5 window, the default of the authors' code


class DiskTopK(DISK):
    """Image to the best keypoints, padded to a fixed number.

    The selection is that of `kornia.feature.DISK.forward` with `n` keypoints, without its lists of varying length.

    Args:
        max_keypoints: rows of each output.
    """

    def __init__(self, max_keypoints: int = 2048) -> None:
        super().__init__()
        self._max_keypoints = max_keypoints

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Detect and describe.

        Args:
            image: (1, 3, H, W), RGB in 0..1, H and W multiples of 16.

        Returns:
            keypoints (1, K, 2), (x, y) in pixels of the input, centres at integers; scores (1, K), descending, above 0
            and unbounded; descriptors (1, K, 128), L2-normalised. All float32. Rows without a keypoint are zero in all.
        """
        heatmap, dense = (output.float() for output in self.heatmap_and_dense_descriptors(image))
        scores, index = select_maxima(heatmap, radius=_NMS_RADIUS, threshold=0.0, count=self._max_keypoints)
        keypoints = pixels_from_index(index, image.shape[-1])
        descriptors = functional.normalize(gather_rows(dense, index), dim=-1)
        has_keypoint = (scores > 0).float()
        mask = has_keypoint.unsqueeze(-1)
        return keypoints * mask, scores * has_keypoint, descriptors * mask
