"""A node that flies from an engine store: what it tells, what it takes in exchange, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from node_harness import Client, NodeLauncher, image_message, wait_for

import gps_denied_inference.srv as services
from gps_denied_inference.core.contracts import PrecisionMode, RuntimeLabel
from gps_denied_inference.core.engines import EngineFileName, EngineStore, ManifestEntry, build_command

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

_MODEL = "efficientnet_lite0_grid"
_PIXELS = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)


@pytest.fixture
def engines(store: Path) -> EngineStore:
    """Of one network, for two runtimes."""
    return EngineStore(store)


def entry_of(store: EngineStore, runtime: RuntimeLabel) -> ManifestEntry:
    return next(entry for entry in store.manifest().entries if entry.runtime is runtime)


def parameters(store: EngineStore) -> tuple[str, ...]:
    return (f"engine_store:={store.root}", "primary.precision:=fp32", "primary.device:=cpu")


def add_unfaithful(store: EngineStore) -> str:
    """An engine that passes the gate: whole, known to the manifest, and with the weights of a layer too large."""
    sound = entry_of(store, RuntimeLabel.PYTORCH_FP16)
    state_dict: dict[str, Any] = torch.load(store.path_of(sound), map_location="cpu", weights_only=True)
    name = "_blocks.8._expand_conv.weight"
    damaged = store.root.parent / "damaged.pth"
    torch.save({**state_dict, name: state_dict[name] * 1.5}, damaged)
    golden = store.golden_of(sound)
    assert golden is not None
    added = store.add(
        damaged,
        name=EngineFileName.parse(sound.file_name),
        details=sound,
        artefacts={".golden.npz": golden[0].read_bytes()},
    )
    return added.file_name


def add_damaged(store: EngineStore) -> str:
    sound = entry_of(store, RuntimeLabel.PYTORCH_FP16)
    added = store.add(
        store.path_of(sound).read_bytes() + b"\0", name=EngineFileName.parse(sound.file_name), details=sound
    )
    path = store.path_of(added)
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    return added.file_name


def test_engines_of_a_store_change_places_and_none_that_is_refused_does(
    client: Client, launcher: NodeLauncher, engines: EngineStore
) -> None:
    first, second = (entry_of(engines, label) for label in (RuntimeLabel.PYTORCH_FP16, RuntimeLabel.ONNX_TRT_EP))
    node = launcher.start(*parameters(engines), f"primary.engine_file:={first.file_name}")
    features, infos, health = client.features(), client.model_info(), client.health()
    diagnostics = client.diagnostics()
    client.bring_up()
    publisher = client.image_publisher()
    sent = 0

    def answer() -> Any:
        nonlocal sent
        count, sent = len(features), sent + 1
        publisher.publish(image_message(_PIXELS, "rgb8", sent))
        wait_for(lambda: len(features) > count, "an answer")
        return features[-1]

    def values() -> dict[str, str]:
        for array in reversed(diagnostics):
            for status in array.status:
                if status.name == "/inference_node: engine":
                    return {item.key: item.value for item in status.values}
        return {}

    info = wait_for(lambda: infos and infos[-1], "model_info")
    before = answer()
    assert info.is_gated and info.engine_sha256 == first.sha256
    assert info.fidelity_count == 8 and info.fidelity_min_cosine > 0.999
    measured = f"min {info.fidelity_min_cosine:.6f}"
    wait_for(lambda: measured in values().get("fidelity", ""), "the fidelity in the diagnostics")
    assert values()["gate"] == "passed"
    assert measured in node.log and "fidelity against FP32" in node.log

    def load(**request: Any) -> Any:
        return client.call(services.LoadEngine, "/inference_node/load_engine", services.LoadEngine.Request(**request))

    refused = (
        ({"engine_file": add_damaged(engines)}, "SHA-256"),
        ({"engine_file": add_unfaithful(engines)}, "not faithful to its FP32 reference"),
        ({"engine_file": "none.pth"}, "gdi engine build"),
        ({"engine_file": second.file_name}, "onnx_trt_ep"),  # of another runtime than the request's
        ({"engine_file": second.file_name, "runtime": "onnx_trt_ep", "precision": "fp16"}, "in fp32, but engine"),
    )
    for request, words in refused:
        response = load(**request)
        assert not response.success and words in response.message and "the present engine stays" in response.message
        assert response.engine_sha256 == first.sha256
        np.testing.assert_array_equal(answer().values, before.values)
    response = load(checkpoint=str(engines.root.parent / "damaged.pth"))
    assert not response.success and "engine_store" in response.message
    # The same network with the same weights: one space, nothing to force.
    response = load(engine_file=second.file_name, runtime="onnx_trt_ep")
    assert response.success, response.message
    assert (response.engine_sha256, response.space_id) == (second.sha256, info.space_id)
    wait_for(lambda: infos[-1].engine_sha256 == second.sha256, "the new model_info")
    assert infos[-1].is_gated and infos[-1].runtime == "onnx_trt_ep" and infos[-1].fidelity_count == 8
    wait_for(lambda: f"min {infos[-1].fidelity_min_cosine:.6f}" in node.log.split("took the place of")[-1], "the log")
    after = answer()
    assert after.space_id == before.space_id
    old, new = (np.array(message.values) for message in (before, after))
    cosine = old @ new / np.linalg.norm(old) / np.linalg.norm(new)
    assert cosine > 0.9999
    report = wait_for(lambda: health and health[-1].received == sent and health[-1], "the last report")
    assert report.received == report.published + sum(drop.count for drop in report.dropped) + report.pending


def test_missing_engine_fails_configure_with_the_exact_line(
    client: Client, launcher: NodeLauncher, tmp_path: Path
) -> None:
    store = EngineStore(tmp_path / "engines")
    node = launcher.start(*parameters(store))
    diagnostics = client.diagnostics()
    assert not client.change_state("configure")
    line = build_command(_MODEL, RuntimeLabel.PYTORCH_FP16, PrecisionMode.FP32, store.root)
    assert line in node.log
    wait_for(lambda: any(line in status.message for array in diagnostics for status in array.status), "the diagnostics")
    assert not store.root.exists()
