"""SuperPoint with a fixed number of keypoints: the layers of transformers, and a selection with fixed shapes.

DeTone et al., SuperPoint, CVPR Workshops 2018, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.superpoint.configuration_superpoint import SuperPointConfig
from transformers.models.superpoint.modeling_superpoint import (
    SuperPointDescriptorDecoder,
    SuperPointEncoder,
    SuperPointInterestPointDecoder,
)

from gps_denied_inference.core.architectures.networks.keypoint_selection import pixels_from_index, select_maxima

__all__ = ["SuperPointTopK", "rename_layers"]

_CELL = 8
_NMS_RADIUS = 4
_BORDER = 4
_DETECTION_THRESHOLD = 0.015  # the three as in the authors' demonstration

# Names of github.com/magicleap/SuperPointPretrainedNetwork, superpoint_v1.pth.
_NAMES = {
    **{f"conv{block + 1}{part}": f"encoder.conv_blocks.{block}.conv_{part}" for block in range(4) for part in "ab"},
    "convPa": "keypoint_decoder.conv_score_a",
    "convPb": "keypoint_decoder.conv_score_b",
    "convDa": "descriptor_decoder.conv_descriptor_a",
    "convDb": "descriptor_decoder.conv_descriptor_b",
}


class SuperPointTopK(nn.Module):
    """Gray image to the best keypoints, padded to a fixed number.

    Keypoints are strict maxima in a 9×9 window. The authors go through them by score and let each suppress a window
    around it, which also keeps some pixels on the flank of a stronger one.

    Args:
        max_keypoints: rows of each output.
    """

    def __init__(self, max_keypoints: int = 2048) -> None:
        super().__init__()
        config = SuperPointConfig()
        self.encoder = SuperPointEncoder(config)
        self.keypoint_decoder = SuperPointInterestPointDecoder(config)
        self.descriptor_decoder = SuperPointDescriptorDecoder(config)
        self._max_keypoints = max_keypoints

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Detect and describe.

        Args:
            image: (1, 1, H, W), gray in 0..1, H and W multiples of 8.

        Returns:
            keypoints (1, K, 2), (x, y) in pixels of the input, centres at integers; scores (1, K), 0..1, descending;
            descriptors (1, K, 256), L2-normalised. All float32. Rows without a keypoint are zero in all three.
        """
        height, width = image.shape[-2:]
        encoded = self.encoder(image).last_hidden_state
        detector, descriptor = self.keypoint_decoder, self.descriptor_decoder
        logits = detector.conv_score_b(functional.relu(detector.conv_score_a(encoded))).float()
        # The last of the 65 channels means that the cell has no keypoint.
        heatmap = functional.pixel_shuffle(functional.softmax(logits, dim=1)[:, : _CELL * _CELL], _CELL)
        scores, index = select_maxima(
            heatmap, radius=_NMS_RADIUS, threshold=_DETECTION_THRESHOLD, count=self._max_keypoints, border=_BORDER
        )
        keypoints = pixels_from_index(index, width)
        dense = descriptor.conv_descriptor_b(functional.relu(descriptor.conv_descriptor_a(encoded))).float()
        # Cells are described at their centres, which lie 3.5 pixels from the edge.
        size = torch.tensor((width, height), device=image.device, dtype=torch.float32)
        centre = (_CELL - 1) / 2
        grid = ((keypoints - centre) / (size - _CELL / 2 - 0.5) * 2 - 1).unsqueeze(1)
        sampled = functional.grid_sample(functional.normalize(dense, dim=1), grid, mode="bilinear", align_corners=True)
        descriptors = functional.normalize(sampled.squeeze(2).transpose(1, 2), dim=-1)
        has_keypoint = (scores > 0).float()
        mask = has_keypoint.unsqueeze(-1)
        return keypoints * mask, scores * has_keypoint, descriptors * mask


def rename_layers(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring the authors' names to those of transformers."""
    renamed = {}
    for name, value in state_dict.items():
        layer, _, kind = name.partition(".")
        renamed[f"{_NAMES.get(layer, layer)}.{kind}"] = value
    return renamed
