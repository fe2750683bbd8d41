"""Networks without installable weights, against what their papers and authors define: small, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")
from half_precision import emulate_half_precision  # noqa: E402 - needs torch
from torch.nn import functional  # noqa: E402 - needs torch

from gps_denied_inference.core.architectures.networks import (  # noqa: E402 - needs torch
    boq,
    dinov2,
    dinov2_descriptors,
    dinov3,
    eigenplaces,
    gem,
    mixvpr,
    netvlad,
    resnet,
    salad,
)
from test.core.architectures.published_layouts import (  # noqa: E402 - beside torch
    Layout,
    dinov2_layout,
    torchvision_resnet_layout,
)

SIZE = dinov2.VitSize(width=48, depth=2, heads=4)


def random_checkpoint(layout: Layout, seed: int = 0) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    values = {}
    for key, shape in layout.items():
        value = torch.randn(shape, generator=generator) * 0.05
        if "norm" in key or ".bn" in key or key.startswith("bn") or "downsample.1" in key or "running_var" in key:
            value = value.abs() + 0.5
        values[key] = value
    return values


def metas_forward(weights: dict[str, Any], image: Any, *, has_final_norm: bool) -> Any:
    """The forward pass of Meta's DINOv2 with its own names: pre-norm blocks, joint projection, layer scale."""
    grid = image.shape[-1] // 14
    patches = functional.conv2d(image, weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"], stride=14)
    positions = weights["pos_embed"][:, 1:].reshape(1, 37, 37, -1).permute(0, 3, 1, 2)
    factor = (grid + 0.1) / 37
    positions = functional.interpolate(positions, scale_factor=(factor, factor), mode="bicubic")
    tokens = torch.cat((weights["cls_token"], patches.flatten(2).transpose(1, 2)), 1)
    tokens = tokens + torch.cat((weights["pos_embed"][:, :1], positions.flatten(2).transpose(1, 2)), 1)

    def norm(name: str, values: Any) -> Any:
        return functional.layer_norm(
            values, values.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-6
        )

    def linear(name: str, values: Any) -> Any:
        return functional.linear(values, weights[f"{name}.weight"], weights[f"{name}.bias"])

    for index in range(SIZE.depth):
        name = f"blocks.{index}"
        count, width = tokens.shape[1:]
        joint = linear(f"{name}.attn.qkv", norm(f"{name}.norm1", tokens))
        query, key, value = joint.reshape(1, count, 3, SIZE.heads, width // SIZE.heads).permute(2, 0, 3, 1, 4)
        weighed = (query @ key.transpose(-1, -2) / (width // SIZE.heads) ** 0.5).softmax(-1) @ value
        attended = linear(f"{name}.attn.proj", weighed.transpose(1, 2).reshape(1, count, width))
        tokens = tokens + weights[f"{name}.ls1.gamma"] * attended
        hidden = functional.gelu(linear(f"{name}.mlp.fc1", norm(f"{name}.norm2", tokens)))
        tokens = tokens + weights[f"{name}.ls2.gamma"] * linear(f"{name}.mlp.fc2", hidden)
    return norm("norm", tokens) if has_final_norm else tokens


@pytest.mark.parametrize("has_final_norm", [True, False])
def test_converted_dinov2_computes_what_metas_does(has_final_norm: bool) -> None:
    weights = random_checkpoint(dinov2_layout(SIZE.width, SIZE.depth))
    backbone = dinov2.Dinov2Backbone(SIZE, 70, has_final_norm=has_final_norm).eval()
    backbone.net.load_state_dict(dinov2.rename_backbone(weights), strict=True)
    image = torch.randn(1, 3, 70, 70)
    with torch.inference_mode():
        expected = metas_forward(weights, image, has_final_norm=has_final_norm)
        token, patches = backbone(image)
    torch.testing.assert_close(token, expected[:, 0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(patches.flatten(2).transpose(1, 2), expected[:, 1:], rtol=1e-4, atol=1e-4)


def torchvisions_forward(weights: dict[str, Any], image: Any, depth: int) -> Any:
    """The forward pass of torchvision's ResNet with its own names."""

    def conv(name: str, values: Any, stride: int = 1) -> Any:
        weight = weights[f"{name}.weight"]
        return functional.conv2d(values, weight, stride=stride, padding=weight.shape[-1] // 2)

    def norm(name: str, values: Any) -> Any:
        statistics = (weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(values, *statistics)

    features = functional.max_pool2d(functional.relu(norm("bn1", conv("conv1", image, 2))), 3, 2, 1)
    parts = 2 if depth == 18 else 3
    for stage in range(1, 5):
        index = 0
        while f"layer{stage}.{index}.conv1.weight" in weights:
            name = f"layer{stage}.{index}"
            stride = 2 if stage > 1 and index == 0 else 1
            output = features
            for part in range(1, parts + 1):
                # The stride lies in the first convolution of two, in the second of three.
                step = stride if part == parts - 1 else 1
                output = norm(f"{name}.bn{part}", conv(f"{name}.conv{part}", output, step))
                output = functional.relu(output) if part < parts else output
            if f"{name}.downsample.0.weight" in weights:
                features = norm(f"{name}.downsample.1", conv(f"{name}.downsample.0", features, stride))
            features = functional.relu(features + output)
            index += 1
    return features


@pytest.mark.parametrize("depth", [18, 50])
def test_converted_resnet_computes_what_torchvisions_does(depth: int) -> None:
    weights = random_checkpoint(torchvision_resnet_layout(depth))
    backbone = resnet.ResNetBackbone(depth).eval()
    backbone.load_state_dict(resnet.rename_backbone(weights), strict=True)
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected = torchvisions_forward(weights, image, depth)
        found = backbone(image)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_salad_gives_every_patch_away_once_and_every_cluster_its_share() -> None:
    shares = salad._transport(torch.randn(1, 5, 40), torch.tensor(1.0))
    assert shares.shape == (1, 5, 40) and (shares >= 0).all()
    # Patches come last in an iteration, so that none gives away more than itself; clusters are near their mass of one.
    assert (shares.sum(1) <= 1.0 + 1e-5).all()
    torch.testing.assert_close(shares.sum(2), torch.ones(1, 5), rtol=0.2, atol=0.0)


def test_salad_sends_what_fits_no_cluster_to_the_dustbin() -> None:
    scores = torch.full((1, 4, 30), -20.0)
    scores[0, torch.arange(4), torch.arange(4)] = 20.0
    shares = salad._transport(scores, torch.tensor(1.0))
    wanted = torch.eye(4, 30, dtype=torch.bool)
    # Three iterations, as published, don't reach the balance.
    assert shares[0][wanted].min() > 0.7
    assert shares[0][~wanted].max() < 1e-3


def test_attention_of_boq_is_torchs() -> None:
    bag = boq._Bag(128, 6).eval()
    tokens = torch.randn(1, 20, 128)
    with torch.no_grad():
        found, answer = bag(tokens)
        expected = bag.encoder(tokens)
        queries = bag.queries
        queries = bag.norm_q(queries + bag.self_attn(queries, queries, queries)[0])
        expected_answer = bag.norm_out(bag.cross_attn(queries, expected, expected)[0])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(answer, expected_answer, rtol=1e-4, atol=1e-5)


def test_vlad_sums_residuals_cluster_by_cluster() -> None:
    layer = netvlad._Vlad(3, 8)
    features = torch.randn(1, 8, 4, 5)
    with torch.no_grad():
        found = layer(features)
        places = functional.normalize(features, dim=1).flatten(2)[0].T
        assignment = (places @ layer.conv.weight.flatten(1).T).softmax(1)
        clusters = [
            functional.normalize((assignment[:, [index]] * (places - layer.centroids[index])).sum(0), dim=0)
            for index in range(3)
        ]
        expected = functional.normalize(torch.cat(clusters), dim=0)
    torch.testing.assert_close(found[0], expected, rtol=1e-4, atol=1e-5)


def test_signed_cube_keeps_negative_channels_and_half_precision_range() -> None:
    patches = torch.tensor([-60.0, 60.0, 0.0]).reshape(1, 3, 1, 1).expand(1, 3, 4, 4).half()
    pooled = gem.pool_by_signed_cube(patches)
    torch.testing.assert_close(pooled[0], torch.tensor([-(0.5**0.5), 0.5**0.5, 0.0]), rtol=1e-3, atol=1e-3)


SMALL: dict[str, tuple[Callable[[], Any], int, int]] = {
    "dinov2 with GeM": (lambda: dinov2_descriptors.Dinov2Gem(SIZE, 140), 140, 48),
    "dinov2 with SALAD": (lambda: dinov2_descriptors.Dinov2Salad(SIZE, 140), 140, 8448),
    "dinov2 with BoQ": (lambda: dinov2_descriptors.Dinov2Boq(SIZE, 140), 140, 12288),
    "dinov3 with GeM": (lambda: dinov3.Dinov3Gem(48, 2, 4, 64), 64, 48),
    "mixvpr": (lambda: mixvpr.MixVpr(64), 64, 4096),
    "eigenplaces": (lambda: eigenplaces.EigenPlaces(18, 512), 64, 512),
    "netvlad": (lambda: netvlad.NetVladVgg16(8), 64, 4096),
}


@pytest.mark.parametrize("name", SMALL)
def test_descriptor_is_a_unit_vector_that_half_precision_hardly_turns(name: str) -> None:
    factory, size, dimension = SMALL[name]
    torch.manual_seed(0)
    module = factory().eval().requires_grad_(False)
    image = torch.randn(1, 3, size, size)
    with torch.inference_mode():
        descriptor = module(image)
        halved = emulate_half_precision(module)(image)
    assert descriptor.shape == (1, dimension) and descriptor.dtype == torch.float32
    torch.testing.assert_close(descriptor.norm(), torch.tensor(1.0), rtol=1e-4, atol=0.0)
    assert float(functional.cosine_similarity(descriptor, halved)) > 0.99, "the node's limit of fidelity"
