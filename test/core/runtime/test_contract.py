"""The runtime contract, against every runtime that this computer can run; a new one adds a case to `CASES`."""

from __future__ import annotations

import gc
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gps_denied_inference.core.architectures import ArchitectureRegistry
from gps_denied_inference.core.contracts import (
    BuildConfig,
    EngineCacheEntry,
    EngineHandle,
    PrecisionMode,
    RuntimeLabel,
    ThermalState,
)
from gps_denied_inference.core.errors import (
    EngineBuildError,
    EngineDeserializeError,
    EngineHashMismatchError,
    InferenceError,
    RuntimeNotAvailableError,
    TelemetryUnavailableError,
)
from gps_denied_inference.core.runtime import BuildFlags, InferenceRuntime, RuntimeOptions, create_runtime
from gps_denied_inference.core.runtime.device_memory import open_device_stream
from gps_denied_inference.core.runtime.tensorrt_binding import load_binding

torch = pytest.importorskip("torch", reason="torch is not installed")
from tensorrt_bench import TensorrtBench  # noqa: E402 - needs torch

from test.core.runtime.reference_networks import (  # noqa: E402 - needs torch
    REFERENCE_CNN,
    reference_registry,
    seeded_reference,
    write_reference_checkpoint,
    write_reference_onnx,
)


def _fake_script(folder: Path) -> Path:
    path = folder / f"{REFERENCE_CNN}.yaml"
    path.write_text("latency_ms: 0\n")
    return path


@dataclass(frozen=True)
class Case:
    """A runtime under test: its label and how its model file for the reference network is made.

    Attributes:
        one_pass: what `infer` calls once to run the network, as a dotted name.
        passes_before_ready: how many of these a load makes at least.
    """

    label: RuntimeLabel
    make_model: Callable[[Path], Path]
    one_pass: str
    passes_before_ready: int = 3
    foreign_content: bytes = b"\x80\x02this is no engine: ["
    imports: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    name: str = ""
    make_runtime: Callable[..., InferenceRuntime] | None = None


def _tensorrt_on_its_stand_in(
    *, options: RuntimeOptions, architecture_registry: ArchitectureRegistry, **keywords: Any
) -> InferenceRuntime:
    """The runtime is the real one; the binding and the GPU's memory are stand-ins."""
    return TensorrtBench(architecture_registry).runtime(
        device=options.device,
        allow_cpu_fallback=options.allow_cpu_fallback,
        per_frame_debug_log=options.per_frame_debug_log,
        **keywords,
    )


def _why_no_tensorrt() -> str:
    try:
        open_device_stream(0).close()
        load_binding()
    except RuntimeNotAvailableError as error:
        return f"the real TensorRT cannot run here: {error}"
    return ""


_RUNTIMES = "gps_denied_inference.core.runtime"
CASES = (
    Case(
        RuntimeLabel.PYTORCH_FP16,
        write_reference_checkpoint,
        f"{_RUNTIMES}.torch_network.TorchNetwork.forward",
        imports=("torch",),
    ),
    Case(
        RuntimeLabel.ONNX_TRT_EP,
        write_reference_onnx,
        f"{_RUNTIMES}.onnx_network.OnnxNetwork.forward",
        imports=("onnxruntime",),
        needs=("onnxruntime", "onnxscript"),
    ),
    Case(
        RuntimeLabel.TENSORRT,
        write_reference_onnx,
        f"{_RUNTIMES}.tensorrt_network.TensorrtNetwork.forward",
        needs=("onnxscript",),
        name="tensorrt (stand-in of the binding)",
        make_runtime=_tensorrt_on_its_stand_in,
    ),
    # It has nothing to warm, and a load must not play the script's first frame.
    Case(RuntimeLabel.FAKE, _fake_script, f"{_RUNTIMES}.fake.outputs_from_inputs", passes_before_ready=0),
)


WHY_NO_TENSORRT = _why_no_tensorrt()
REAL_TENSORRT = Case(
    RuntimeLabel.TENSORRT,
    write_reference_onnx,
    f"{_RUNTIMES}.tensorrt_network.TensorrtNetwork.forward",
    imports=("tensorrt", "tensorrt_rtx"),
    needs=("onnxscript",),
    name="tensorrt (real)",
)


class ScriptedThermal:
    def __init__(self, state: ThermalState | Exception) -> None:
        self.state = state

    def snapshot(self) -> ThermalState:
        if isinstance(self.state, Exception):
            raise self.state
        return self.state


class TickingClock:
    """Advances 1 ms with every reading."""

    def __init__(self) -> None:
        self.readings = 0

    def __call__(self) -> int:
        self.readings += 1
        return self.readings * 1_000_000


@pytest.fixture(
    params=CASES if WHY_NO_TENSORRT else (*CASES, REAL_TENSORRT), ids=lambda case: case.name or case.label.value
)
def case(request: pytest.FixtureRequest) -> Case:
    selected: Case = request.param
    for package in selected.needs:
        pytest.importorskip(package, reason=f"{package} is not installed")
    return selected


@pytest.fixture
def registry() -> ArchitectureRegistry:
    return reference_registry()


@pytest.fixture
def make(case: Case, registry: ArchitectureRegistry) -> Callable[..., InferenceRuntime]:
    def create(*, options: RuntimeOptions | None = None, **keywords: Any) -> InferenceRuntime:
        if case.make_runtime is not None:
            return case.make_runtime(options=options or RuntimeOptions(), architecture_registry=registry, **keywords)
        return create_runtime(
            case.label,
            enabled=frozenset({case.label}),
            build_flags=BuildFlags(),
            options=options or RuntimeOptions(allow_cpu_fallback=True),
            architecture_registry=registry,
            **keywords,
        )

    return create


@pytest.fixture
def runtime(make: Callable[..., InferenceRuntime]) -> InferenceRuntime:
    return make()


@pytest.fixture
def entry(case: Case, runtime: InferenceRuntime, tmp_path: Path) -> EngineCacheEntry:
    return runtime.compile_engine(case.make_model(tmp_path), BuildConfig())


@pytest.fixture
def handle(runtime: InferenceRuntime, entry: EngineCacheEntry) -> EngineHandle:
    return runtime.deserialize_engine(entry)


@pytest.fixture
def image() -> NDArray[np.float32]:
    return np.random.default_rng(1).random((1, 3, 32, 32), dtype=np.float32)


@pytest.mark.skipif(bool(WHY_NO_TENSORRT), reason=WHY_NO_TENSORRT)
def test_real_tensorrt_keeps_the_contract_as_the_stand_in_does(tmp_path: Path, image: NDArray[np.float32]) -> None:
    # Here every other test of this file runs against it, too: this one says in its place why it does not elsewhere.
    runtime = create_runtime(
        RuntimeLabel.TENSORRT,
        enabled=frozenset({RuntimeLabel.TENSORRT}),
        build_flags=BuildFlags(),
        options=RuntimeOptions(),
        architecture_registry=reference_registry(),
    )
    handle = runtime.deserialize_engine(runtime.compile_engine(write_reference_onnx(tmp_path), BuildConfig()))
    with torch.inference_mode():
        expected = seeded_reference()(torch.from_numpy(image)).numpy()
    np.testing.assert_allclose(runtime.infer(handle, {"image": image})["descriptor"], expected, atol=0.05)


def test_runtime_has_the_six_methods_and_its_label(runtime: InferenceRuntime, case: Case) -> None:
    assert isinstance(runtime, InferenceRuntime)
    assert runtime.current_runtime_label() == case.label.value


def test_entry_names_path_hash_and_model(entry: EngineCacheEntry, case: Case) -> None:
    import hashlib

    assert entry.sha256 == hashlib.sha256(entry.path.read_bytes()).hexdigest()
    assert entry.extras["model_name"] == REFERENCE_CNN
    assert entry.extras["runtime"] == case.label.value
    assert entry.precision is PrecisionMode.FP16


def test_model_name_can_be_overridden(case: Case, runtime: InferenceRuntime, tmp_path: Path) -> None:
    entry = runtime.compile_engine(case.make_model(tmp_path), BuildConfig(extras={"model_name": "styled_tuple"}))
    assert entry.extras["model_name"] == "styled_tuple"


# Invariant 1: errors.


def test_compiling_a_missing_file_is_a_build_error(runtime: InferenceRuntime, tmp_path: Path) -> None:
    with pytest.raises(EngineBuildError, match=r"nowhere\.pt") as caught:
        runtime.compile_engine(tmp_path / "nowhere.pt", BuildConfig())
    assert isinstance(caught.value.__cause__, OSError)


def test_compiling_a_foreign_file_is_a_build_error(case: Case, runtime: InferenceRuntime, tmp_path: Path) -> None:
    path = tmp_path / "reference_cnn.pt"
    path.write_bytes(case.foreign_content)
    with pytest.raises(EngineBuildError) as caught:
        runtime.compile_engine(path, BuildConfig())
    assert caught.value.__cause__ is not None


def test_loading_a_missing_file_is_a_deserialize_error(runtime: InferenceRuntime, entry: EngineCacheEntry) -> None:
    entry.path.unlink()
    with pytest.raises(EngineDeserializeError) as caught:
        runtime.deserialize_engine(entry)
    assert isinstance(caught.value.__cause__, OSError)


def test_loading_changed_bytes_is_a_hash_error(runtime: InferenceRuntime, entry: EngineCacheEntry) -> None:
    with entry.path.open("ab") as file:
        file.write(b"\n")
    with pytest.raises(EngineHashMismatchError, match=entry.sha256):
        runtime.deserialize_engine(entry)


def test_loading_an_unregistered_network_is_a_deserialize_error(
    runtime: InferenceRuntime, entry: EngineCacheEntry
) -> None:
    with pytest.raises(EngineDeserializeError, match="did you mean reference_cnn") as caught:
        runtime.deserialize_engine(replace(entry, extras={"model_name": "reference_cnm"}))
    assert caught.value.__cause__ is not None


def test_loading_an_entry_without_a_model_name_is_a_deserialize_error(
    runtime: InferenceRuntime, entry: EngineCacheEntry
) -> None:
    with pytest.raises(EngineDeserializeError, match="model_name"):
        runtime.deserialize_engine(replace(entry, extras={}))


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ({}, "image"),
        ({"picture": np.zeros((1, 3, 32, 32), np.float32)}, "picture"),
        ({"image": np.zeros((1, 3, 32, 32), np.float32), "mask": np.zeros(1)}, "mask"),
        ({"image": np.zeros((3, 32, 32), np.float32)}, r"\(3, 32, 32\)"),
        ({"image": np.zeros((1, 3, 32, 31), np.float32)}, r"\(1, 3, 32, 31\)"),
        ({"image": np.zeros((1, 3, 32, 32), np.float64)}, "float64"),
        ({"image": np.zeros((1, 3, 32, 32), np.uint8)}, "uint8"),
        ({"image": np.full((1, 3, 32, 32), np.nan, np.float32)}, "NaN"),
        ({"image": np.full((1, 3, 32, 32), -np.inf, np.float32)}, "Inf"),
        ({"image": [[0.0]]}, "list"),
    ],
    ids=["none", "name", "extra", "rank", "shape", "float64", "uint8", "nan", "inf", "type"],
)
def test_wrong_inputs_are_refused_by_name_and_the_engine_goes_on(
    runtime: InferenceRuntime, handle: EngineHandle, image: NDArray[np.float32], inputs: Any, named: str
) -> None:
    with pytest.raises(InferenceError, match=named):
        runtime.infer(handle, inputs)
    assert runtime.infer(handle, {"image": image})


# Invariant 2: handles.


def test_handle_of_another_object_is_refused(
    make: Callable[..., InferenceRuntime], handle: EngineHandle, image: NDArray[np.float32]
) -> None:
    other = make()
    with pytest.raises(InferenceError, match="another runtime"):
        other.infer(handle, {"image": image})
    with pytest.raises(InferenceError, match="another runtime"):
        other.release_engine(handle)


def test_handle_of_another_label_is_refused(
    runtime: InferenceRuntime, handle: EngineHandle, image: NDArray[np.float32]
) -> None:
    other = RuntimeLabel.FAKE if handle.runtime_label is RuntimeLabel.TENSORRT else RuntimeLabel.TENSORRT
    foreign = replace(handle, runtime_label=other)
    with pytest.raises(InferenceError, match=other.value):
        runtime.infer(foreign, {"image": image})


def test_something_that_is_no_handle_is_refused(runtime: InferenceRuntime, image: NDArray[np.float32]) -> None:
    nothing: Any = None
    with pytest.raises(InferenceError, match="NoneType"):
        runtime.infer(nothing, {"image": image})


def test_released_handle_is_refused_and_release_is_idempotent(
    runtime: InferenceRuntime, handle: EngineHandle, image: NDArray[np.float32]
) -> None:
    runtime.release_engine(handle)
    runtime.release_engine(handle)
    with pytest.raises(InferenceError, match="released"):
        runtime.infer(handle, {"image": image})


def test_release_leaves_other_engines_alone(
    runtime: InferenceRuntime, entry: EngineCacheEntry, image: NDArray[np.float32]
) -> None:
    first, second = runtime.deserialize_engine(entry), runtime.deserialize_engine(entry)
    assert first.handle_id != second.handle_id
    runtime.release_engine(first)
    assert runtime.infer(second, {"image": image})


def test_release_lets_go_of_the_engine(runtime: InferenceRuntime, handle: EngineHandle) -> None:
    table: Any = next(value for value in vars(runtime).values() if type(value).__name__ == "HandleTable")
    engine = table.get(handle)
    alone = object()
    count = len(table)
    assert sys.getrefcount(engine) > sys.getrefcount(alone)
    runtime.release_engine(handle)
    gc.collect()
    # Counted, because the slotted engines of some runtimes cannot be referred to weakly.
    references, of_one_variable = sys.getrefcount(engine), sys.getrefcount(alone)
    assert references == of_one_variable
    assert len(table) == count - 1


# Invariant 3: truthful timing and buffers. (That the device has finished is measured on a GPU, in test/gpu.)


def test_outputs_belong_to_the_caller(
    runtime: InferenceRuntime, handle: EngineHandle, image: NDArray[np.float32]
) -> None:
    first = runtime.infer(handle, {"image": image})
    kept = {name: values.copy() for name, values in first.items()}
    runtime.infer(handle, {"image": 1.0 - image})
    for name, values in first.items():
        assert values.dtype == np.float32
        assert values.flags.writeable
        np.testing.assert_array_equal(values, kept[name])


def test_inputs_are_only_read(runtime: InferenceRuntime, handle: EngineHandle, image: NDArray[np.float32]) -> None:
    before = image.copy()
    image.flags.writeable = False
    outputs = runtime.infer(handle, {"image": image})
    np.testing.assert_array_equal(image, before)
    assert not any(np.shares_memory(values, image) for values in outputs.values())


# Invariant 4: evaluation mode, determinism.


def test_same_input_gives_same_output_after_other_inputs(
    runtime: InferenceRuntime, handle: EngineHandle, image: NDArray[np.float32]
) -> None:
    first = runtime.infer(handle, {"image": image})["descriptor"]
    other = runtime.infer(handle, {"image": image[:, ::-1].copy()})["descriptor"]
    again = runtime.infer(handle, {"image": image})["descriptor"]
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_second_load_gives_same_output(
    runtime: InferenceRuntime, entry: EngineCacheEntry, image: NDArray[np.float32]
) -> None:
    first, second = (runtime.infer(runtime.deserialize_engine(entry), {"image": image}) for _ in range(2))
    np.testing.assert_array_equal(first["descriptor"], second["descriptor"])


# Invariant 5: lazy imports.


def test_other_runtimes_packages_stay_unimported(case: Case) -> None:
    program = f"""
import sys
from gps_denied_inference.core.contracts import RuntimeLabel
from gps_denied_inference.core.runtime import BuildFlags, RuntimeOptions, create_runtime
heavy = {{"torch", "kornia", "onnxruntime", "tensorrt", "tensorrt_rtx", "cuda", "pynvml", "jtop", "cv2"}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
label = RuntimeLabel({case.label.value!r})
create_runtime(label, enabled=frozenset({{label}}), build_flags=BuildFlags(), options=RuntimeOptions())
assert heavy & set(sys.modules) <= {set(case.imports)!r}, heavy & set(sys.modules)
ours = [name for name in sys.modules if name.startswith("gps_denied_inference.core.runtime.")]
others = {{
    "pytorch_fp16": "pytorch_fp16", "fake": "fake", "onnx_trt_ep": "onnx_trt_ep", "tensorrt": "tensorrt_runtime"
}}
others.pop(label.value)
assert not any(name.endswith("." + module) for name in ours for module in others.values()), ours
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


# Invariant 6: thermal state.


def test_thermal_state_claims_nothing_without_a_publisher(runtime: InferenceRuntime) -> None:
    state = runtime.thermal_state()
    assert not state.is_telemetry_available
    assert not state.thermal_throttle_active
    assert state.cause


def test_thermal_state_is_the_publishers(make: Callable[..., InferenceRuntime]) -> None:
    state = ThermalState(cpu_temperature_c=71.5, thermal_throttle_active=True, is_telemetry_available=True)
    assert make(thermal_publisher=ScriptedThermal(state)).thermal_state() is state


def test_failing_thermal_publisher_is_a_telemetry_error(make: Callable[..., InferenceRuntime]) -> None:
    publisher = ScriptedThermal(OSError("sensor gone"))
    with pytest.raises(TelemetryUnavailableError, match="sensor gone") as caught:
        make(thermal_publisher=publisher).thermal_state()
    assert caught.value.__cause__ is publisher.state


# Invariant 7: warm before ready.


def test_network_has_run_on_its_declared_shapes_before_its_handle_is_there(
    case: Case, runtime: InferenceRuntime, entry: EngineCacheEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, _, name = case.one_pass.rpartition(".")
    owner = pkgutil.resolve_name(module)
    run = getattr(owner, name)
    passes: list[dict[str, tuple[tuple[int, ...], str]]] = []

    def counted(*arguments: Any) -> Any:
        passes.append({name: (values.shape, str(values.dtype)) for name, values in arguments[-1].items()})
        return run(*arguments)

    monkeypatch.setattr(owner, name, counted)
    handle = runtime.deserialize_engine(entry)
    declared = {item.name: (item.shape, item.dtype) for item in handle.input_specs}
    assert len(passes) >= case.passes_before_ready and all(shapes == declared for shapes in passes)
    before = len(passes)
    runtime.infer(handle, {item.name: np.ones(item.shape, item.dtype) for item in handle.input_specs})
    assert len(passes) == before + 1
    assert case.passes_before_ready or before == 0


# Invariant 8: no silent fallback.


def test_configuration_gives_a_reason_for_every_difference(handle: EngineHandle) -> None:
    configuration = handle.configuration
    assert configuration.requested_precision is PrecisionMode.FP16
    assert configuration.requested_device == "cuda:0"
    assert configuration.provider
    is_as_asked = (
        configuration.effective_precision is configuration.requested_precision
        and configuration.effective_device == configuration.requested_device
    )
    assert is_as_asked != bool(configuration.fallback_reason)


# Invariant 9: injection, and the log that depends on the clock.


def test_debug_log_has_one_line_a_frame_with_the_clocks_latency(
    make: Callable[..., InferenceRuntime],
    entry: EngineCacheEntry,
    image: NDArray[np.float32],
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = TickingClock()
    runtime = make(options=RuntimeOptions(allow_cpu_fallback=True, per_frame_debug_log=True), clock=clock)
    handle = runtime.deserialize_engine(entry)
    with caplog.at_level("DEBUG", logger="gps_denied_inference.runtime"):
        caplog.clear()
        before = clock.readings
        runtime.infer(handle, {"image": image})
        runtime.infer(handle, {"image": image})
    assert [record.levelname for record in caplog.records] == ["DEBUG", "DEBUG"]
    assert clock.readings > before
    arguments: Any = caplog.records[0].args
    assert arguments[-1] == (clock.readings - before) / 2 - 1  # milliseconds between the frame's first and last reading


def test_nothing_is_logged_otherwise(
    runtime: InferenceRuntime, handle: EngineHandle, image: NDArray[np.float32], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG", logger="gps_denied_inference"):
        caplog.clear()
        runtime.infer(handle, {"image": image})
    assert caplog.records == []


# Invariant 10: nothing in a file is executed.


def test_pickled_code_is_not_run(runtime: InferenceRuntime, tmp_path: Path) -> None:
    import pickle

    trap = tmp_path / "sprung"

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (trap,))

    path = tmp_path / "reference_cnn.pt"
    path.write_bytes(pickle.dumps({"head.weight": Trap()}))
    with pytest.raises(EngineBuildError):
        runtime.compile_engine(path, BuildConfig())
    torch.save({"head.weight": Trap()}, path)
    with pytest.raises(EngineBuildError):
        runtime.compile_engine(path, BuildConfig())
    assert not trap.exists()


def test_context_manager_releases_every_engine(
    make: Callable[..., Any], entry: EngineCacheEntry, image: NDArray[np.float32]
) -> None:
    with make() as runtime:
        handle = runtime.deserialize_engine(entry)
    with pytest.raises(InferenceError, match="released"):
        runtime.infer(handle, {"image": image})
