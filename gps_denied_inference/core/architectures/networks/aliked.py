"""ALIKED with a fixed number of keypoints: kornia's network, detected and described without lists of varying length.

Zhao et al., ALIKED, IEEE Transactions on Instrumentation and Measurement 2023; its keypoint detection is that of Zhao
et al., ALIKE, IEEE Transactions on Multimedia 2022.
"""

from __future__ import annotations

import torch
from kornia.feature import ALIKED
from torch import Tensor
from torch.nn import functional

from gps_denied_inference.core.architectures.networks.keypoint_selection import (
    gather_rows,
    pixels_from_index,
    select_maxima,
)

__all__ = ["AlikedTopK", "aliked_n16", "aliked_n16rot", "aliked_n32", "aliked_t16"]

_NMS_RADIUS = 2
_DETECTION_THRESHOLD = 0.2  # of the score map, the authors' default
_TEMPERATURE = 0.1  # of the soft argmax that refines a keypoint


class AlikedTopK(ALIKED):
    """Image to the best keypoints, padded to a fixed number.

    Detection and description are those of `kornia.feature.ALIKED.forward` in its threshold mode, except that an image
    without any score above the threshold gives no keypoints, where kornia lowers the threshold for it.

    Args:
        variant: `aliked-n16`, `aliked-n16rot`, `aliked-n32` or `aliked-t16`.
        max_keypoints: rows of each output.
    """

    def __init__(self, variant: str, max_keypoints: int = 2048) -> None:
        super().__init__(model_name=variant)
        del self.dkd  # its detection is replaced; its constants are not in the published checkpoints
        self._max_keypoints = max_keypoints

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Detect and describe.

        Args:
            image: (1, 3, H, W), RGB in 0..1, H and W multiples of 32.

        Returns:
            keypoints (1, K, 2), (x, y) in pixels of the input, refined below a pixel, centres at integers; scores
            (1, K), 0..1, in the order of the map's values at the pixel before refinement; descriptors (1, K, D),
            L2-normalised. All float32. Rows without a keypoint are zero in all three.
        """
        features, score_map = self.extract_dense_map(image)
        score_map = score_map.float()
        height, width = image.shape[-2:]
        ranked, index = select_maxima(
            score_map, radius=_NMS_RADIUS, threshold=_DETECTION_THRESHOLD, count=self._max_keypoints
        )
        keypoints = pixels_from_index(index, width) + self._residual(score_map, index)
        size = torch.tensor((width - 1, height - 1), device=image.device, dtype=torch.float32)
        grid = (keypoints / size * 2 - 1).unsqueeze(1)
        scores = functional.grid_sample(score_map, grid, mode="bilinear", align_corners=True).flatten(1)
        descriptors = self._describe(features, keypoints, size)
        has_keypoint = (ranked > 0).float()
        mask = has_keypoint.unsqueeze(-1)
        return keypoints * mask, scores * has_keypoint, descriptors * mask

    def _residual(self, score_map: Tensor, index: Tensor) -> Tensor:
        """Soft argmax of the window around each pixel: (1, K, 2), (x, y)."""
        width = score_map.shape[-1]
        offsets = torch.arange(-_NMS_RADIUS, _NMS_RADIUS + 1, device=index.device)
        rows, columns = torch.meshgrid(offsets, offsets, indexing="ij")
        around = (rows * width + columns).flatten()
        window = gather_rows(score_map, (index.unsqueeze(-1) + around).flatten(1)).reshape(*index.shape, -1)
        weights = functional.softmax(window / _TEMPERATURE, dim=-1)
        places = torch.stack((columns.flatten(), rows.flatten()), dim=-1).float()
        return weights @ places

    def _describe(self, features: Tensor, keypoints: Tensor, size: Tensor) -> Tensor:
        """Sample the features at learnt places around each keypoint and weigh them: (1, K, D), unit length.

        Convolutions run in the network's precision, positions and interpolation in float32.
        """
        head = self.desc_head
        dtype = features.dtype
        height, width = features.shape[-2:]
        patch_size = head.kernel_size
        # The patch lies around the pixel that holds the keypoint, moved into the image at the edge.
        corner = (keypoints.floor() - patch_size / 2 + 1).long()
        left = corner[..., 0].clamp(0, width - 1 - patch_size)
        top = corner[..., 1].clamp(0, height - 1 - patch_size)
        inside = torch.arange(patch_size, device=features.device)
        around = (inside.unsqueeze(1) * width + inside).flatten()
        index = ((top * width + left).unsqueeze(-1) + around).flatten(1)
        count = keypoints.shape[1]
        patches = gather_rows(features, index).reshape(count, patch_size, patch_size, -1).permute(0, 3, 1, 2)
        limit = max(height, width) / 4.0
        offsets = head.offset_conv(patches.contiguous()).float().clamp(-limit, limit)
        offsets = offsets.reshape(count, 2, head.n_pos).transpose(1, 2)
        places = keypoints.reshape(count, 1, 2) + offsets
        grid = (2.0 * places / size - 1.0).unsqueeze(0)
        sampled = functional.grid_sample(features.float(), grid, mode="bilinear", align_corners=True)
        weighed = functional.selu(head.sf_conv(sampled.to(dtype)))
        described = torch.einsum("bcnp,pcd->bnd", weighed, head.agg_weights)
        return functional.normalize(described.float(), dim=-1)


def aliked_n16() -> AlikedTopK:
    """The usual size."""
    return AlikedTopK("aliked-n16")


def aliked_n16rot() -> AlikedTopK:
    """The usual size, trained with rotated images."""
    return AlikedTopK("aliked-n16rot")


def aliked_n32() -> AlikedTopK:
    """Twice as many sampling places a descriptor."""
    return AlikedTopK("aliked-n32")


def aliked_t16() -> AlikedTopK:
    """The tiny one, with descriptors of 64."""
    return AlikedTopK("aliked-t16")
