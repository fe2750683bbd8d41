"""Exported networks against torch, on noise and on real crops."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gps_denied_inference.core.architectures import ArchitectureEntry, ArchitectureRegistry, entries, locate_weights
from gps_denied_inference.core.contracts import BuildConfig, OptimizationProfile, OutputKind, PrecisionMode
from gps_denied_inference.core.errors import EngineBuildError, ReplayError

torch = pytest.importorskip("torch", reason="torch is not installed")
onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
from gps_denied_inference.core.engines import space_id  # noqa: E402 - with onnxruntime
from gps_denied_inference.core.engines.onnx_agreement import require_agreement  # noqa: E402 - with onnxruntime
from gps_denied_inference.core.engines.onnx_export import OPSET, export_onnx  # noqa: E402 - with onnxruntime
from gps_denied_inference.core.imaging import Preprocessor  # noqa: E402 - with torch
from gps_denied_inference.core.runtime.onnx_trt_ep import OnnxTrtEpRuntime  # noqa: E402 - with onnxruntime
from gps_denied_inference.core.runtime.pytorch_fp16 import PytorchFp16Runtime  # noqa: E402 - with torch
from test.core.runtime.reference_networks import (  # noqa: E402 - needs torch
    OUTPUT_STYLES,
    REFERENCE_CNN,
    ReferenceCnn,
    reference_registry,
    spec_for,
    write_reference_checkpoint,
)

FP32, FP16 = PrecisionMode.FP32, PrecisionMode.FP16
CROPS = 100


def reference() -> ArchitectureEntry:
    return reference_registry().lookup(REFERENCE_CNN)


def published(name: str) -> tuple[ArchitectureEntry, Path]:
    registry = ArchitectureRegistry()
    entries.register(registry)
    entry = registry.lookup(name)
    if name == "xfeat":
        pytest.importorskip("kornia", reason="kornia is not installed")
    try:
        return entry, locate_weights(entry.spec, name, None)
    except EngineBuildError as error:
        pytest.skip(f"the weights of {name} are not installed: {error}")


@pytest.mark.parametrize("precision", [FP32, FP16])
@pytest.mark.parametrize("name", ["efficientnet_lite0_grid", "xfeat"])
def test_published_networks_export_and_agree_with_torch(name: str, precision: PrecisionMode, tmp_path: Path) -> None:
    entry, weights = published(name)
    export = export_onnx(entry, weights, precision, tmp_path / f"{name}.onnx")
    content = export.path.read_bytes()
    assert export.sha256 == hashlib.sha256(content).hexdigest()
    assert export.max_abs_error < (1e-5 if precision is FP32 else 1e-2)
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model)
    assert {item.key: item.value for item in model.metadata_props} == dict(export.metadata)
    assert export.metadata["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert export.metadata["preprocess_sha256"] == entry.spec.preprocess.sha256
    assert export.metadata["space_id"] == space_id(name, export.metadata["weights_sha256"], entry.spec)
    assert export.metadata["model"] == name
    assert {item.type.tensor_type.elem_type for item in (*model.graph.input, *model.graph.output)} == {
        onnx.TensorProto.FLOAT
    }
    kinds = {item.data_type for item in model.graph.initializer if np.prod(item.dims) > 1000}
    assert kinds == {onnx.TensorProto.FLOAT if precision is FP32 else onnx.TensorProto.FLOAT16}


def test_descriptors_of_real_crops_are_torchs(tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
    from gps_denied_inference.core.flight.orthophoto import load_orthophoto, locate_orthophoto

    name = "efficientnet_lite0_grid"
    entry, weights = published(name)
    try:
        picture = load_orthophoto(locate_orthophoto()).image_rgb
    except ReplayError as error:
        pytest.skip(str(error))
    export = export_onnx(entry, weights, FP32, tmp_path / f"{name}.onnx")
    exact, exported = PytorchFp16Runtime(device="cpu"), OnnxTrtEpRuntime(device="cpu")
    config = BuildConfig(FP32, extras={"model_name": name})
    handles = [
        runtime.deserialize_engine(runtime.compile_engine(path, config))
        for runtime, path in ((exact, weights), (exported, export.path))
    ]
    preprocessor = Preprocessor(entry.spec.preprocess)
    generator = np.random.default_rng(11)
    cosines = []
    for _ in range(CROPS):
        size = int(generator.integers(160, 400))
        top, left = (int(generator.integers(0, extent - size)) for extent in picture.shape[:2])
        image, _ = preprocessor.prepare(np.ascontiguousarray(picture[top : top + size, left : left + size]))
        first = exact.infer(handles[0], {"image": image})["descriptor"][0]
        second = exported.infer(handles[1], {"image": image})["descriptor"][0]
        cosines.append(float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second))))
    assert np.min(cosines) >= 0.9999  # a NaN, which min() steps over, fails


def test_same_network_gives_same_bytes_without_paths_of_this_computer(tmp_path: Path) -> None:
    checkpoint = write_reference_checkpoint(tmp_path)
    first = export_onnx(reference(), checkpoint, FP32, tmp_path / "first.onnx")
    second = export_onnx(reference(), checkpoint, FP32, tmp_path / "second.onnx")
    assert first.sha256 == second.sha256
    assert b".py" not in first.path.read_bytes()
    assert first.opset == OPSET


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    export_onnx(reference(), write_reference_checkpoint(tmp_path), FP32, tmp_path / "network.onnx")
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("style", OUTPUT_STYLES)
def test_every_way_to_return_outputs_exports_under_the_declared_names(style: str, tmp_path: Path) -> None:
    checkpoint = tmp_path / "scale.pt"
    torch.save({"scale": torch.tensor(2.0)}, checkpoint)
    entry = reference_registry().lookup(f"styled_{style}")
    export = export_onnx(entry, checkpoint, FP32, tmp_path / "network.onnx")
    assert [item.name for item in onnx.load(export.path).graph.output] == list(entry.spec.output_names)


def test_profile_leaves_sizes_open_and_the_runtime_takes_the_declared_one(tmp_path: Path) -> None:
    profile = OptimizationProfile("image", (1, 3, 32, 32), (1, 3, 32, 32), (4, 3, 32, 32))
    checkpoint = write_reference_checkpoint(tmp_path)
    path = export_onnx(reference(), checkpoint, FP32, tmp_path / f"{REFERENCE_CNN}.onnx", profiles=(profile,)).path
    sizes = onnx.load(path).graph.input[0].type.tensor_type.shape.dim
    assert sizes[0].dim_param and [size.dim_value for size in sizes[1:]] == [3, 32, 32]
    runtime = OnnxTrtEpRuntime(device="cpu", architecture_registry=reference_registry())
    handle = runtime.deserialize_engine(runtime.compile_engine(path, BuildConfig(FP32)))
    assert runtime.infer(handle, {"image": np.ones((1, 3, 32, 32), np.float32)})["descriptor"].shape == (1, 8)


def test_profile_of_an_unknown_input_is_refused(tmp_path: Path) -> None:
    profile = OptimizationProfile("mask", (1,), (1,), (2,))
    with pytest.raises(EngineBuildError, match="mask"):
        export_onnx(
            reference(), write_reference_checkpoint(tmp_path), FP32, tmp_path / "network.onnx", profiles=(profile,)
        )


class DependsOnValues(ReferenceCnn):
    def forward(self, image: Any) -> Any:
        return super().forward(image) if float(image.sum()) > 0 else super().forward(-image)


def test_network_that_cannot_be_exported_is_a_build_error_and_leaves_nothing(tmp_path: Path) -> None:
    registry = ArchitectureRegistry()
    entry = registry.register(REFERENCE_CNN, DependsOnValues, spec=spec_for((1, 3, 32, 32), ("descriptor",), 8))
    checkpoint = write_reference_checkpoint(tmp_path)
    with pytest.raises(EngineBuildError, match="exporting") as caught:
        export_onnx(entry, checkpoint, FP32, tmp_path / "network.onnx")
    assert caught.value.__cause__ is not None
    assert list(tmp_path.iterdir()) == [checkpoint]


def test_checkpoint_of_another_network_is_a_build_error(tmp_path: Path) -> None:
    checkpoint = tmp_path / "other.pt"
    torch.save({"scale": torch.tensor(2.0)}, checkpoint)
    with pytest.raises(EngineBuildError, match="does not fit"):
        export_onnx(reference(), checkpoint, FP32, tmp_path / "network.onnx")
    checkpoint.write_bytes(b"no checkpoint")
    with pytest.raises(EngineBuildError, match="not a checkpoint"):
        export_onnx(reference(), checkpoint, FP32, tmp_path / "network.onnx")


@pytest.mark.parametrize("precision", [PrecisionMode.INT8, PrecisionMode.MIXED])
def test_other_precisions_are_refused(precision: PrecisionMode, tmp_path: Path) -> None:
    with pytest.raises(EngineBuildError, match=precision.value):
        export_onnx(reference(), write_reference_checkpoint(tmp_path), precision, tmp_path / "network.onnx")


def local_outputs(scores: list[float]) -> dict[str, NDArray[np.float32]]:
    count = len(scores)
    return {
        "keypoints": np.array([[(8.0 * index, 5.0) for index in range(count)]], np.float32),
        "scores": np.array([scores], np.float32),
        "descriptors": np.tile(np.eye(4, dtype=np.float32)[0], (1, count, 1)),
    }


def test_local_features_agree_in_any_order_of_rows() -> None:
    spec = replace(
        spec_for((1, 3, 32, 32), ("keypoints", "scores", "descriptors"), 4), output_kind=OutputKind.LOCAL_FEATURES
    )
    expected = local_outputs([0.9, 0.8, 0.7, 0.0])
    found = {name: values[:, [1, 0, 2, 3]].copy() for name, values in expected.items()}
    assert require_agreement("network", spec, FP32, expected, found) == 0.0
    found["descriptors"][0, :] = np.eye(4)[1]
    with pytest.raises(EngineBuildError, match="differs from torch"):
        require_agreement("network", spec, FP32, expected, found)
    found["keypoints"] += 2.0
    with pytest.raises(EngineBuildError, match=r"0\.0% of torch's 3 keypoints"):
        require_agreement("network", spec, FP32, expected, found)


@pytest.mark.parametrize("error", [0.01, np.nan])
def test_global_descriptor_beyond_the_tolerance_is_a_build_error(error: float) -> None:
    spec = spec_for((1, 3, 32, 32), ("descriptor",), 8)
    expected = {"descriptor": np.ones((1, 8), np.float32)}
    with pytest.raises(EngineBuildError, match="differs from torch"):
        require_agreement("network", spec, FP32, expected, {"descriptor": expected["descriptor"] + np.float32(error)})
    with pytest.raises(EngineBuildError, match="shape"):
        require_agreement("network", spec, FP32, expected, {"descriptor": np.ones((1, 7), np.float32)})
