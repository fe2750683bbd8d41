"""Names and shapes of published checkpoints that cannot be installed, as the authors' code defines them.

Sources, read in their public repositories: facebookresearch/dinov2 and dinov3 (vision transformers), serizba/salad,
amaralibey/Bag-of-Queries, amaralibey/MixVPR, gmberton/EigenPlaces, Nanne/pytorch-NetVlad,
magicleap/SuperPointPretrainedNetwork, cvg/LightGlue, zju3dv/EfficientLoFTR; torchvision for the ResNets inside.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["LAYOUTS", "Layout", "dinov2_layout", "torchvision_resnet_layout"]

Layout = dict[str, tuple[int, ...]]


def _norm(name: str, width: int) -> Layout:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _linear(name: str, out_width: int, in_width: int) -> Layout:
    return {f"{name}.weight": (out_width, in_width), f"{name}.bias": (out_width,)}


def _conv(name: str, out_width: int, in_width: int, kernel: int, *, has_bias: bool = True) -> Layout:
    weight: Layout = {f"{name}.weight": (out_width, in_width, kernel, kernel)}
    return weight | ({f"{name}.bias": (out_width,)} if has_bias else {})


def _batch_norm(name: str, width: int) -> Layout:
    statistics: Layout = {f"{name}.running_mean": (width,), f"{name}.running_var": (width,)}
    return _norm(name, width) | statistics | {f"{name}.num_batches_tracked": ()}


def _prefixed(prefix: str, layout: Layout) -> Layout:
    return {prefix + name: shape for name, shape in layout.items()}


def _block(name: str, width: int) -> Layout:
    return {
        **_norm(f"{name}.norm1", width),
        **_linear(f"{name}.attn.qkv", 3 * width, width),
        **_linear(f"{name}.attn.proj", width, width),
        f"{name}.ls1.gamma": (width,),
        **_norm(f"{name}.norm2", width),
        **_linear(f"{name}.mlp.fc1", 4 * width, width),
        **_linear(f"{name}.mlp.fc2", width, 4 * width),
        f"{name}.ls2.gamma": (width,),
    }


def dinov2_layout(width: int, depth: int = 12) -> Layout:
    layout: Layout = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1 + 37 * 37, width),
        "mask_token": (1, width),
        **_conv("patch_embed.proj", width, 3, 14),
        **_norm("norm", width),
    }
    for index in range(depth):
        layout |= _block(f"blocks.{index}", width)
    return layout


def _dinov3_layout(width: int = 384, depth: int = 12) -> Layout:
    layout: Layout = {
        "cls_token": (1, 1, width),
        "storage_tokens": (1, 4, width),
        "mask_token": (1, width),
        **_conv("patch_embed.proj", width, 3, 16),
        "rope_embed.periods": (16,),
        **_norm("norm", width),
    }
    for index in range(depth):
        layout |= _block(f"blocks.{index}", width) | {f"blocks.{index}.attn.qkv.bias_mask": (3 * width,)}
    return layout


def _salad_layout(width: int) -> Layout:
    return {
        **_prefixed("backbone.model.", dinov2_layout(width)),
        "aggregator.dust_bin": (),
        **_linear("aggregator.token_features.0", 512, width),
        **_linear("aggregator.token_features.2", 256, 512),
        **_conv("aggregator.cluster_features.0", 512, width, 1),
        **_conv("aggregator.cluster_features.3", 128, 512, 1),
        **_conv("aggregator.score.0", 512, width, 1),
        **_conv("aggregator.score.3", 64, 512, 1),
    }


def _attention(name: str, width: int) -> Layout:
    joint: Layout = {f"{name}.in_proj_weight": (3 * width, width), f"{name}.in_proj_bias": (3 * width,)}
    return joint | _linear(f"{name}.out_proj", width, width)


def _boq_layout(width: int) -> Layout:
    layout: Layout = {
        **_prefixed("backbone.dino.", dinov2_layout(width)),
        **_conv("aggregator.proj_c", 384, width, 3),
        **_norm("aggregator.norm_input", 384),
        **_linear("aggregator.fc", 32, 128),
    }
    for name in ("aggregator.boqs.0", "aggregator.boqs.1"):
        layout |= {
            f"{name}.queries": (1, 64, 384),
            **_attention(f"{name}.encoder.self_attn", 384),
            **_linear(f"{name}.encoder.linear1", 1536, 384),
            **_linear(f"{name}.encoder.linear2", 384, 1536),
            **_norm(f"{name}.encoder.norm1", 384),
            **_norm(f"{name}.encoder.norm2", 384),
            **_attention(f"{name}.self_attn", 384),
            **_norm(f"{name}.norm_q", 384),
            **_attention(f"{name}.cross_attn", 384),
            **_norm(f"{name}.norm_out", 384),
        }
    return layout


def torchvision_resnet_layout(depth: int, stages: int = 4) -> Layout:
    """Without the classifier."""
    layout = _conv("conv1", 64, 3, 7, has_bias=False) | _batch_norm("bn1", 64)
    is_basic = depth == 18
    blocks = (2, 2, 2, 2) if is_basic else (3, 4, 6, 3)
    in_width = 64
    for stage, count in enumerate(blocks[:stages]):
        inner = 64 * 2**stage
        out_width = inner if is_basic else 4 * inner
        for index in range(count):
            name = f"layer{stage + 1}.{index}"
            widths = (
                [(inner, in_width, 3), (inner, inner, 3)]
                if is_basic
                else [(inner, in_width, 1), (inner, inner, 3), (out_width, inner, 1)]
            )
            for part, (wide, narrow, kernel) in enumerate(widths, 1):
                layout |= _conv(f"{name}.conv{part}", wide, narrow, kernel, has_bias=False)
                layout |= _batch_norm(f"{name}.bn{part}", wide)
            if index == 0 and in_width != out_width:
                layout |= _conv(f"{name}.downsample.0", out_width, in_width, 1, has_bias=False)
                layout |= _batch_norm(f"{name}.downsample.1", out_width)
            in_width = out_width
    return layout


def _mixvpr_layout() -> Layout:
    layout = _prefixed("backbone.model.", torchvision_resnet_layout(50, stages=3))
    for index in range(4):
        name = f"aggregator.mix.{index}.mix"
        layout |= _norm(f"{name}.0", 400) | _linear(f"{name}.1", 400, 400) | _linear(f"{name}.3", 400, 400)
    return layout | _linear("aggregator.channel_proj", 1024, 1024) | {"aggregator.row_proj.weight": (4, 400)}


def _eigenplaces_layout(depth: int, width: int, dimension: int) -> Layout:
    numbers = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    layout: Layout = {}
    for name, shape in torchvision_resnet_layout(depth).items():
        child, _, rest = name.partition(".")
        layout[f"backbone.{numbers[child]}.{rest}"] = shape
    return layout | {"aggregation.1.p": (1,)} | _linear("aggregation.3", dimension, width)


def _netvlad_layout() -> Layout:
    layout: Layout = {}
    in_width, index = 3, 0
    for widths in ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3):
        for out_width in widths:
            layout |= _conv(f"encoder.{index}", out_width, in_width, 3)
            in_width, index = out_width, index + 2
        index += 1
    return layout | {"pool.conv.weight": (64, 512, 1, 1), "pool.centroids": (64, 512)}


def _superpoint_layout() -> Layout:
    layout: Layout = {}
    in_width = 1
    for number, width in enumerate((64, 64, 128, 128), 1):
        layout |= _conv(f"conv{number}a", width, in_width, 3) | _conv(f"conv{number}b", width, width, 3)
        in_width = width
    for letter, width in (("P", 65), ("D", 256)):
        layout |= _conv(f"conv{letter}a", 256, 128, 3) | _conv(f"conv{letter}b", width, 256, 1)
    return layout


def _lightglue_superpoint_layout() -> Layout:
    width = 256
    layout: Layout = {"posenc.Wr.weight": (32, 2)}
    for index in range(9):
        for name, projections in (
            (f"self_attn.{index}", {"Wqkv": 3 * width, "out_proj": width}),
            (f"cross_attn.{index}", {"to_qk": width, "to_v": width, "to_out": width}),
        ):
            for projection, out_width in projections.items():
                layout |= _linear(f"{name}.{projection}", out_width, width)
            layout |= _linear(f"{name}.ffn.0", 2 * width, 2 * width) | _norm(f"{name}.ffn.1", 2 * width)
            layout |= _linear(f"{name}.ffn.3", width, 2 * width)
        layout |= _linear(f"log_assignment.{index}.matchability", 1, width)
        layout |= _linear(f"log_assignment.{index}.final_proj", width, width)
        if index < 8:
            layout |= _linear(f"token_confidence.{index}.token.0", 1, width)
    return layout


def _efficient_loftr_layout() -> Layout:
    layout: Layout = {}
    in_width = 1
    for stage, (blocks, width) in enumerate(((1, 64), (2, 64), (4, 128), (14, 256))):
        for index in range(blocks):
            name = f"matcher.backbone.layer{stage}" + ("" if stage == 0 else f".{index}")
            for branch, kernel in (("rbr_dense", 3), ("rbr_1x1", 1)):
                layout |= _conv(f"{name}.{branch}.conv", width, in_width, kernel, has_bias=False)
                layout |= _batch_norm(f"{name}.{branch}.bn", width)
            # The first block of every stage but the second halves the size.
            if in_width == width and (index > 0 or stage == 1):
                layout |= _batch_norm(f"{name}.rbr_identity", width)
            in_width = width
    for index in range(8):
        name = f"matcher.loftr_coarse.layers.{index}"
        layout |= {f"{name}.aggregate.weight": (256, 1, 4, 4)}
        layout |= {f"{name}.{part}.weight": (256, 256) for part in ("q_proj", "k_proj", "v_proj", "merge")}
        layout |= {f"{name}.mlp.0.weight": (512, 512), f"{name}.mlp.2.weight": (256, 512)}
        layout |= _norm(f"{name}.norm1", 256) | _norm(f"{name}.norm2", 256)
    fine = "matcher.fine_preprocess"
    layout |= _conv(f"{fine}.layer3_outconv", 256, 256, 1, has_bias=False)
    for stage, inner, width in ((2, 256, 128), (1, 128, 64)):
        layout |= _conv(f"{fine}.layer{stage}_outconv", inner, width, 1, has_bias=False)
        layout |= _conv(f"{fine}.layer{stage}_outconv2.0", inner, inner, 3, has_bias=False)
        layout |= _batch_norm(f"{fine}.layer{stage}_outconv2.1", inner)
        layout |= _conv(f"{fine}.layer{stage}_outconv2.3", width, inner, 3, has_bias=False)
    return layout


LAYOUTS: dict[str, Callable[[], Layout]] = {
    "dinov2_vitb14": lambda: dinov2_layout(768),
    "dinov2_vitb14_boq": lambda: _boq_layout(768),
    "dinov2_vitb14_salad": lambda: _salad_layout(768),
    "dinov2_vits14": lambda: dinov2_layout(384),
    "dinov2_vits14_boq": lambda: _boq_layout(384),
    "dinov2_vits14_salad": lambda: _salad_layout(384),
    "dinov3_vits16": _dinov3_layout,
    "efficient_loftr": _efficient_loftr_layout,
    "eigenplaces_resnet18": lambda: _eigenplaces_layout(18, 512, 512),
    "eigenplaces_resnet50": lambda: _eigenplaces_layout(50, 2048, 2048),
    "lightglue_superpoint": _lightglue_superpoint_layout,
    "mixvpr_resnet50": _mixvpr_layout,
    "netvlad_vgg16": _netvlad_layout,
    "superpoint": _superpoint_layout,
}
"""By name of the entry."""
