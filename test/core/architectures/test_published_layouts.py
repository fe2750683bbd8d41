"""Checkpoints with the published names and shapes load strictly: all that is testable without published values."""

from __future__ import annotations

from typing import Any

import pytest

from gps_denied_inference.core.architectures import ArchitectureEntry, default_registry
from gps_denied_inference.core.errors import EngineDeserializeError, RuntimeNotAvailableError
from gps_denied_inference.core.runtime.torch_checkpoint import load_published

torch = pytest.importorskip("torch", reason="torch is not installed")
from test.core.architectures.published_layouts import LAYOUTS  # noqa: E402 - beside torch

# What is copied into a network without memory goes nowhere; names and shapes are compared all the same.
pytestmark = pytest.mark.filterwarnings("ignore:for .*copying from a non-meta parameter:UserWarning")

LAYOUT_ONLY = [name for name in default_registry() if default_registry().lookup(name).spec.is_verified_by_layout_only]


def meta_module(name: str) -> tuple[ArchitectureEntry, Any]:
    """Build a network of full size without memory for its parameters."""
    entry = default_registry().lookup(name)
    try:
        with torch.device("meta"):
            return entry, entry.build()
    except RuntimeNotAvailableError as error:
        pytest.skip(str(error))


def checkpoint(name: str) -> dict[str, Any]:
    """Every tensor full of its own number, as wide as the layout says, at the cost of one element each."""
    return {
        key: torch.full((), float(number)).expand(shape) for number, (key, shape) in enumerate(LAYOUTS[name]().items())
    }


def test_every_network_without_installable_weights_has_its_layout_here() -> None:
    assert sorted(LAYOUTS) == LAYOUT_ONLY


@pytest.mark.parametrize("name", LAYOUT_ONLY)
def test_published_layout_loads_strictly(name: str) -> None:
    entry, module = meta_module(name)
    load_published(module, entry, checkpoint(name))


@pytest.mark.parametrize("name", LAYOUT_ONLY)
def test_no_value_is_lost_or_used_twice(name: str) -> None:
    published = checkpoint(name)
    try:
        converted = default_registry().lookup(name).convert(published)
    except RuntimeNotAvailableError as error:
        pytest.skip(str(error))
    sizes = {
        "published": sum(value.numel() for key, value in published.items() if "bias_mask" not in key),
        "converted": sum(value.numel() for value in converted.values()),
    }
    # The transformer of DINOv3 keeps neither its constant periods nor the biases of keys, which are masked.
    if name == "dinov3_vits16":
        sizes["published"] -= 16 + 12 * 384
    # Thresholds of LightGlue's early stopping: nine constants that the older checkpoints lack.
    if name == "lightglue_superpoint":
        sizes["published"] += 9
    assert sizes["published"] == sizes["converted"]


@pytest.mark.parametrize("name", ["dinov3_vits16", "lightglue_superpoint", "mixvpr_resnet50", "superpoint"])
def test_missing_and_strange_tensors_are_named(name: str) -> None:
    entry, module = meta_module(name)
    published = checkpoint(name)
    lost = next(key for key in reversed(published) if key.endswith("weight"))
    published["stranger.weight"] = published.pop(lost)
    with pytest.raises(EngineDeserializeError, match=r"Missing keys: (?!none).*Unexpected keys: .*stranger.weight"):
        load_published(module, entry, published)


@pytest.mark.parametrize(
    ("name", "published", "own"),
    [
        ("superpoint", "convPb.bias", "keypoint_decoder.conv_score_b.bias"),
        ("superpoint", "conv3a.weight", "encoder.conv_blocks.2.conv_a.weight"),
        (
            "eigenplaces_resnet18",
            "backbone.6.0.downsample.1.bias",
            "backbone.encoder.stages.2.layers.0.shortcut.normalization.bias",
        ),
        (
            "mixvpr_resnet50",
            "backbone.model.layer2.3.bn3.running_var",
            "backbone.encoder.stages.1.layers.3.layer.2.normalization.running_var",
        ),
        (
            "dinov2_vits14_salad",
            "backbone.model.blocks.7.ls2.gamma",
            "backbone.net.encoder.layer.7.layer_scale2.lambda1",
        ),
        ("dinov2_vits14_boq", "backbone.dino.blocks.1.mlp.fc2.bias", "backbone.net.encoder.layer.1.mlp.fc2.bias"),
        ("dinov3_vits16", "blocks.4.mlp.fc1.weight", "net.model.layer.4.mlp.up_proj.weight"),
        ("lightglue_superpoint", "cross_attn.8.to_v.bias", "net.transformers.8.cross_attn.to_v.bias"),
        (
            "efficient_loftr",
            "matcher.loftr_coarse.layers.5.merge.weight",
            "net.local_feature_transformer.layers.2.cross_attention.attention.o_proj.weight",
        ),
        (
            "efficient_loftr",
            "matcher.fine_preprocess.layer1_outconv2.1.bias",
            "refinement_layer.out_conv_layers.1.batch_norm.bias",
        ),
    ],
)
def test_tensors_land_where_their_names_say(name: str, published: str, own: str) -> None:
    values = checkpoint(name)
    converted = default_registry().lookup(name).convert(values)
    assert torch.equal(converted[own], values[published])


@pytest.mark.parametrize("name", ["dinov2_vits14", "dinov3_vits16"])
def test_joint_projection_is_split_into_queries_keys_and_values(name: str) -> None:
    values = checkpoint(name)
    values["blocks.0.attn.qkv.weight"] = torch.arange(3.0).repeat_interleave(384)[:, None].expand(-1, 384)
    converted = default_registry().lookup(name).convert(values)
    for number, part in enumerate(("q_proj", "k_proj", "v_proj")):
        key = next(key for key in converted if f"layer.0.attention.{part}.weight" in key)
        assert torch.equal(converted[key], torch.full((384, 384), float(number)))


def test_netvlad_of_several_gpus_loads_alike() -> None:
    values = checkpoint("netvlad_vgg16")
    parallel = {
        key.replace("encoder.", "encoder.module.").replace("pool.", "pool.module."): values[key] for key in values
    }
    entry = default_registry().lookup("netvlad_vgg16")
    assert entry.convert(parallel).keys() == entry.convert(values).keys()


def test_converted_checkpoint_is_not_converted_again() -> None:
    entry, module = meta_module("superpoint")
    load_published(module, entry, entry.convert(checkpoint("superpoint")))
