"""Part (c): `infer`, numpy to numpy, against the bare call of the same backend."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.cli.benchmarks.engines import MODEL, onnx_engine
from gps_denied_inference.cli.benchmarks.measurement import BenchPlan, Comparison, Contender, PartReport, Role, in_turn
from gps_denied_inference.core.architectures import ArchitectureRegistry, default_registry
from gps_denied_inference.core.architectures.weights import locate_weights
from gps_denied_inference.core.contracts import BuildConfig, PrecisionMode
from gps_denied_inference.core.optional import require
from gps_denied_inference.core.runtime.onnx_network import SessionThreads, make_session
from gps_denied_inference.core.runtime.onnx_trt_ep import OnnxTrtEpRuntime
from gps_denied_inference.core.runtime.pytorch_fp16 import PytorchFp16Runtime
from gps_denied_inference.core.runtime.torch_checkpoint import load_published, state_dict_from_bytes
from gps_denied_inference.core.runtime.torch_outputs import named_tensors

__all__ = ["BareGraph", "measure", "published_module"]

_TRANSFORMER = "dinov2_vits14"

_TARGET_TORCH, _TARGET_ONNX, _TARGET_GRAPH = 1.10, 1.03, 1.10


def measure(plan: BenchPlan) -> PartReport:
    """Every runtime that can run here."""
    if plan.device != "cpu":
        comparisons = [_torch_on_gpu(plan, model) for model in (MODEL, _TRANSFORMER)]
        notes = ["the default network has its published weights, the other random ones: time does not depend on them"]
        if _has_onnx_on_gpu():
            comparisons.append(_onnx_on_gpu(plan))
        else:
            notes.append("ONNX Runtime on the GPU is left out: no onnxruntime with a CUDA provider is installed")
    else:
        comparisons = [_torch_on_cpu(plan), _onnx_on_cpu(plan)]
        notes = ["CUDA graph replay is measured by 'gdi bench --gpu infer'"]
    has_tensorrt = importlib.util.find_spec("tensorrt") is not None
    notes.append(
        "execute_async_v3 is left out: "
        + ("its engines are compiled for minutes; test/gpu measures them" if has_tensorrt else "no tensorrt is there")
    )
    return PartReport("c", "infer", "infer, numpy to numpy", tuple(comparisons), tuple(notes))


def _input(model: str = MODEL) -> NDArray[np.float32]:
    shape = default_registry().lookup(model).spec.inputs[0].shape
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def published_module() -> Any:
    """The network with its weights, as a user would load it."""
    architecture = default_registry().lookup(MODEL)
    path = locate_weights(architecture.spec, MODEL, None)
    module = architecture.build()
    load_published(module, architecture, state_dict_from_bytes(path.read_bytes(), path.suffix, str(path)))
    return module.eval()


def _runtime(
    device: str, precision: PrecisionMode, model: str = MODEL, folder: Path | None = None
) -> tuple[PytorchFp16Runtime, Callable[[NDArray[Any]], object]]:
    """Load the default network with its published weights, or another with untrained ones that are written here."""
    architecture = default_registry().lookup(model)
    registry = default_registry()
    if model == MODEL:
        path = locate_weights(architecture.spec, model, None)
    else:
        torch = require("torch", install="pip install torch==2.13.0", purpose="the benchmark on the GPU")
        registry = ArchitectureRegistry()  # without the conversion of published checkpoints
        registry.register(model, architecture.factory, spec=architecture.spec)
        path = (folder or Path()) / f"{model}.pt"
        torch.save(architecture.build().state_dict(), path)
    runtime = PytorchFp16Runtime(device=device, architecture_registry=registry)
    handle = runtime.deserialize_engine(
        runtime.compile_engine(path, BuildConfig(precision, extras={"model_name": model}))
    )
    return runtime, lambda values: runtime.infer(handle, {handle.input_specs[0].name: values})


def _torch_on_cpu(plan: BenchPlan) -> Comparison:
    torch = require("torch", install="pip install torch==2.13.0", purpose="the benchmark of pytorch_fp16")
    values = _input()
    plain, bare = published_module(), published_module().to(memory_format=torch.channels_last)
    placed = torch.from_numpy(values).contiguous(memory_format=torch.channels_last)

    def limit() -> Any:
        with torch.inference_mode():
            return bare(placed)

    def naive() -> Any:
        return plain(torch.from_numpy(values)).detach().numpy().tolist()

    runtime, infer = _runtime("cpu", PrecisionMode.FP32)
    with runtime:
        rows = in_turn(
            (
                Contender(Role.LIMIT, "bare module, channels-last, inference_mode", limit),
                Contender(Role.OURS, "PytorchFp16Runtime.infer", lambda: infer(values)),
                Contender(Role.BASELINE, "module as built, gradients on, result to a list", naive),
            ),
            plan,
        )
    return Comparison("pytorch_fp16, FP32 on the CPU", "ms", rows, _TARGET_TORCH)


def _onnx_on_cpu(plan: BenchPlan) -> Comparison:
    ort = require("onnxruntime", install="pip install onnxruntime", purpose="the benchmark of onnx_trt_ep")
    values, entry = _input(), onnx_engine(plan.output)
    session = make_session(entry.path.read_bytes(), [("CPUExecutionProvider", {})], SessionThreads(1))
    naive_session = _default_session(ort, entry.path, "CPUExecutionProvider")
    with OnnxTrtEpRuntime(device="cpu", allow_cpu_fallback=True, intra_op_threads=1) as runtime:
        handle = runtime.deserialize_engine(entry)
        rows = in_turn(
            (
                Contender(Role.LIMIT, "bare session.run, 1 thread", lambda: session.run(None, {"image": values})),
                Contender(
                    Role.OURS, "OnnxTrtEpRuntime.infer, 1 thread", lambda: runtime.infer(handle, {"image": values})
                ),
                Contender(
                    Role.BASELINE,
                    "session with default options, 1 thread, result to a list",
                    lambda: naive_session.run(None, {"image": values})[0].tolist(),
                ),
            ),
            plan,
        )
    return Comparison("onnx_trt_ep, FP32 on the CPU", "ms", rows, _TARGET_ONNX)


def _default_session(ort: Any, path: Path, provider: str) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # as the others: threads are no merit of what stands around the network
    return ort.InferenceSession(str(path), options, providers=[provider])


def _has_onnx_on_gpu() -> bool:
    if importlib.util.find_spec("onnxruntime") is None:
        return False
    import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def _onnx_on_gpu(plan: BenchPlan) -> Comparison:
    """The same model file, FP32, in the CUDA provider; the limit is a bound run with buffers on the device."""
    ort = require("onnxruntime", install="pip install onnxruntime-gpu", purpose="the benchmark of onnx_trt_ep")
    values, entry = _input(), onnx_engine(plan.output)
    session = _default_session(ort, entry.path, "CUDAExecutionProvider")
    binding, name = session.io_binding(), session.get_outputs()[0].name
    placed = ort.OrtValue.ortvalue_from_numpy(values, "cuda", 0)
    binding.bind_ortvalue_input("image", placed)
    binding.bind_output(name, "cuda", 0)

    def limit() -> Any:
        placed.update_inplace(values)
        session.run_with_iobinding(binding)
        return binding.copy_outputs_to_cpu()[0]

    with OnnxTrtEpRuntime(device=plan.device, allow_cpu_fallback=True, providers=("cuda", "cpu")) as runtime:
        handle = runtime.deserialize_engine(entry)
        rows = in_turn(
            (
                Contender(Role.LIMIT, "bound run, copies in and out", limit),
                Contender(Role.OURS, "OnnxTrtEpRuntime.infer", lambda: runtime.infer(handle, {"image": values})),
                Contender(
                    Role.BASELINE,
                    "session with default options, result to a list",
                    lambda: session.run(None, {"image": values})[0].tolist(),
                ),
            ),
            plan,
        )
    return Comparison("onnx_trt_ep, FP32 on the GPU", "ms", rows, _TARGET_GRAPH)


@dataclass(frozen=True, slots=True)
class BareGraph:
    """A network in FP16 as a CUDA graph, with nothing around it: the limit on a GPU.

    Attributes:
        module: the network.
        stream: of the graph.
        placed: its input, float32 on the device; made half and channels-last inside the graph.
        replay: runs it; on `stream`.
        output: on the device, overwritten by each replay.
        back: pinned, of the output's shape.
    """

    module: Any
    stream: Any
    placed: Any
    replay: Callable[[], None]
    output: Any
    back: Any

    @classmethod
    def record(cls, device: str, model: str = MODEL) -> BareGraph:
        """Warm up and record."""
        torch = require("torch", install="pip install torch==2.13.0", purpose="the benchmark on the GPU")
        architecture = default_registry().lookup(model)
        module = published_module() if model == MODEL else architecture.build().eval()
        module = module.to(device=device, dtype=torch.float16, memory_format=torch.channels_last)
        module.requires_grad_(True)  # as it was built: the naive way leaves gradients on
        placed = torch.zeros(architecture.spec.inputs[0].shape, device=device)
        names = architecture.spec.output_names

        def run() -> Any:
            image = placed.half().contiguous(memory_format=torch.channels_last)
            return named_tensors(module(image), names)[names[0]]

        stream, graph = torch.cuda.Stream(device), torch.cuda.CUDAGraph()
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.no_grad(), torch.cuda.stream(stream):
            for _ in range(3):
                run()
            stream.synchronize()
            with torch.cuda.graph(graph, stream=stream):
                output = run().float()
        back = torch.empty(output.shape, dtype=output.dtype, pin_memory=True)
        return cls(module, stream, placed, graph.replay, output, back)


def _torch_on_gpu(plan: BenchPlan, model: str) -> Comparison:
    torch = require("torch", install="pip install torch==2.13.0", purpose="the benchmark on the GPU")
    values, bare = _input(model), BareGraph.record(plan.device, model)
    names = default_registry().lookup(model).spec.output_names
    pinned = torch.empty(values.shape, dtype=torch.float32, pin_memory=True)

    def limit() -> Any:
        with torch.no_grad(), torch.cuda.stream(bare.stream):
            np.copyto(pinned.numpy(), values)
            bare.placed.copy_(pinned, non_blocking=True)
            bare.replay()
            bare.back.copy_(bare.output, non_blocking=True)
            bare.stream.synchronize()
            return bare.back.numpy().copy()

    def naive() -> Any:
        returned = bare.module(torch.from_numpy(values).to(plan.device).half())
        return named_tensors(returned, names)[names[0]].float().detach().cpu().numpy().tolist()

    def eager() -> Any:
        with torch.inference_mode():
            returned = bare.module(torch.from_numpy(values).to(plan.device).half())
            return named_tensors(returned, names)[names[0]].float().cpu().numpy()

    with TemporaryDirectory() as folder:
        runtime, infer = _runtime(plan.device, PrecisionMode.FP16, model, Path(folder))
    with runtime:
        rows = in_turn(
            (
                Contender(Role.LIMIT, "CUDA graph replay and pinned copies", limit),
                Contender(Role.OURS, "PytorchFp16Runtime.infer", lambda: infer(values)),
                Contender(Role.BASELINE, "eager FP16, gradients on, result to a list", naive),
                Contender(Role.ALTERNATIVE, "eager FP16 in inference_mode", eager),
            ),
            plan,
        )
    return Comparison(f"pytorch_fp16, {model}, FP16 on the GPU", "ms", rows, _TARGET_GRAPH)
