"""A stand-in for TensorRT's Python module and for a GPU: no GPU needed, and yet every byte moves through real memory.

A "model" is an ONNX file, which ONNX Runtime then computes, or a JSON document: a network that scales its input. An
"engine" is a JSON document. Work is queued on a stream and done when the stream is waited for, so that a copy or a wait
that is missing shows. The signatures are those of the real module; `test_tensorrt_stand_in.py` compares them.
"""

from __future__ import annotations

import base64
import ctypes
import enum
import functools
import itertools
import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.errors import InferenceError, OutOfMemoryError
from gps_denied_inference.core.runtime.device_memory import TransferBuffer

__all__ = ["COMPARED", "ONLY_TENSORRT_10", "HostStream", "describe_network", "make_tensorrt", "make_tensorrt_rtx"]


class DataType(enum.Enum):
    FLOAT = "float32"
    HALF = "float16"
    INT64 = "int64"
    BF16 = "bfloat16"


class TensorIOMode(enum.Enum):
    INPUT = 1
    OUTPUT = 2


class LayerType(enum.Enum):
    CONVOLUTION = 0
    QUANTIZE = 1
    DEQUANTIZE = 2


class MemoryPoolType(enum.Enum):
    WORKSPACE = 0


class ComputeCapability(enum.Enum):
    NONE = 0
    CURRENT = 1
    SM86 = 86
    SM89 = 89


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class BuilderFlag(enum.Enum):
    INT8 = 0
    FP16 = 1


class Severity(enum.Enum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO = Severity

    def log(self, severity: Any, msg: str) -> None:
        raise NotImplementedError


class IProgressMonitor:
    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        raise NotImplementedError

    def step_complete(self, phase_name: str, step: int) -> bool:
        raise NotImplementedError

    def phase_finish(self, phase_name: str) -> None:
        raise NotImplementedError


class IInt8EntropyCalibrator2:
    pass


class IHostMemory:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def __bytes__(self) -> bytes:
        return self._content


class ITensor:
    def __init__(self, described: dict[str, Any]) -> None:
        self.name = described["name"]
        self.shape = tuple(described["shape"])
        self.dtype = DataType(described["dtype"])


class ILayer:
    num_outputs = 1

    def __init__(self, described: dict[str, Any]) -> None:
        self.type = LayerType[described["type"]]
        self._output = ITensor({"name": "", "shape": (), "dtype": described["dtype"]})

    def get_output(self, index: int) -> ITensor:
        return self._output


class INetworkDefinition:
    def __init__(self, flags: int) -> None:
        self.is_strongly_typed = bool(flags & 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        self.described: dict[str, Any] = {}

    @property
    def num_inputs(self) -> int:
        return len(self.described["inputs"])

    @property
    def num_outputs(self) -> int:
        return len(self.described["outputs"])

    @property
    def num_layers(self) -> int:
        return len(self.described["layers"])

    def get_input(self, index: int) -> ITensor:
        return ITensor(self.described["inputs"][index])

    def get_layer(self, index: int) -> ILayer:
        return ILayer(self.described["layers"][index])


class IOptimizationProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, Any] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002 - the real names
        self.shapes[input] = (min, opt, max)


class ITimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> IHostMemory:
        return IHostMemory(self.content)


class IBuilderConfig:
    progress_monitor: Any = None
    int8_calibrator: Any = None

    def __init__(self) -> None:
        self.profiles: list[IOptimizationProfile] = []
        self.flags: set[BuilderFlag] = set()
        self.workspace_bytes = 0
        self.calibration_profile: Any = None
        self._cache: ITimingCache | None = None

    def set_flag(self, flag: BuilderFlag) -> None:
        self.flags.add(flag)

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        self.workspace_bytes = pool_size

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def set_calibration_profile(self, profile: IOptimizationProfile) -> bool:
        self.calibration_profile = profile
        return True

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache | None:
        return None if serialized_timing_cache.startswith(b"garbage") else ITimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        self._cache = cache
        return ignore_mismatch or not cache.content.startswith(b"foreign")

    def get_timing_cache(self) -> ITimingCache | None:
        return self._cache


class IBuilderConfigOfRtx(IBuilderConfig):
    num_compute_capabilities = 0

    def __init__(self) -> None:
        super().__init__()
        self.compute_capabilities: dict[int, ComputeCapability] = {}

    def set_compute_capability(self, compute_capability: ComputeCapability, index: int) -> bool:
        self.compute_capabilities[index] = compute_capability
        return index < self.num_compute_capabilities


class Builder:
    _config_class: type[IBuilderConfig] = IBuilderConfig

    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        return INetworkDefinition(flags)

    def create_builder_config(self) -> IBuilderConfig:
        return self._config_class()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> IHostMemory | None:
        refusal = network.described.get("build_refusal")
        if refusal:
            self._logger.log(Severity.ERROR, refusal)
            return None
        described = {
            **network.described,
            "is_strongly_typed": network.is_strongly_typed,
            "profiles": config.profiles[0].shapes if config.profiles else {},
            "flags": sorted(flag.name for flag in config.flags),
            "workspace_bytes": config.workspace_bytes,
        }
        if isinstance(config, IBuilderConfigOfRtx):
            described["sms"] = [item.name for _, item in sorted(config.compute_capabilities.items())]
        if config.int8_calibrator is not None:
            described["calibrated"] = self._calibrated(network, config)
        monitor = config.progress_monitor
        monitor.phase_start("Building engine", None, 2)
        for step in range(2):
            monitor.phase_start("Timing graph nodes", "Building engine", 2)
            go_on = all(monitor.step_complete("Timing graph nodes", inner) for inner in range(2))
            monitor.phase_finish("Timing graph nodes")
            if not go_on or not monitor.step_complete("Building engine", step):
                self._logger.log(Severity.ERROR, "Build canceled by user")
                return None
        monitor.phase_finish("Building engine")
        cache = config.get_timing_cache()
        if cache is not None and b"measured" not in cache.content:
            cache.content += b"measured"
        return IHostMemory(json.dumps(described).encode())

    def _calibrated(self, network: INetworkDefinition, config: IBuilderConfig) -> float:
        """The largest absolute value: of all batches, or what the cache says."""
        calibrator = config.int8_calibrator
        kept = calibrator.read_calibration_cache()
        if kept is not None:
            return float(kept)
        shape = network.get_input(0).shape
        if config.calibration_profile is not None:
            shape = config.calibration_profile.shapes[network.get_input(0).name][1]
        assert calibrator.get_batch_size() == shape[0]
        largest = 0.0
        while (addresses := calibrator.get_batch([network.get_input(0).name])) is not None:
            largest = max(largest, float(np.abs(_memory(addresses[0], shape, np.dtype(np.float32))).max()))
        calibrator.write_calibration_cache(str(largest).encode())
        return largest


class BuilderOfRtx(Builder):
    _config_class = IBuilderConfigOfRtx


class ParserError:
    def __init__(self, reason: str) -> None:
        self._reason = reason

    def desc(self) -> str:
        return self._reason

    def node(self) -> int:
        return 3

    def node_operator(self) -> str:
        return "Conv"

    def node_name(self) -> str:
        return "stem"


class OnnxParser:
    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self._network = network
        self._errors: list[ParserError] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]

    def parse(self, model: bytes, path: str | None = None) -> bool:
        try:
            self._network.described = json.loads(model)
        except ValueError:
            try:
                self._network.described = _described_onnx(model)
            except Exception as error:  # of whichever library parses it
                self._errors.append(ParserError(str(error)))
        return not self._errors


class Runtime:
    _context_class: type[IExecutionContext]

    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        try:
            described = json.loads(serialized_engine)
            refusal = described.get("load_refusal")
        except ValueError:
            refusal = "Serialization assertion header.magicTag == kEXPECTED_MAGIC_TAG failed"
        if refusal:
            self._logger.log(Severity.ERROR, refusal)
            self._logger.log(Severity.ERROR, "a consequence")
            return None
        return ICudaEngine(described, self._logger, self._context_class)


class ICudaEngine:
    def __init__(self, described: dict[str, Any], logger: ILogger, context_class: type[IExecutionContext]) -> None:
        self.described = described
        self.logger = logger
        self._context_class = context_class
        self._tensors = [*described["inputs"], *described["outputs"]]

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors)

    def get_tensor_name(self, index: int) -> str:
        return str(self._tensors[index]["name"])

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        is_input = any(item["name"] == name for item in self.described["inputs"])
        return TensorIOMode.INPUT if is_input else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType(self._tensor(name)["dtype"])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._tensor(name)["shape"])

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        assert profile_index == 0
        return [tuple(shape) for shape in self.described["profiles"][name]]

    def create_execution_context(self) -> IExecutionContext | None:
        refusal = self.described.get("context_refusal")
        if refusal:
            self.logger.log(Severity.ERROR, refusal)
            return None
        return self._context_class(self)

    def _tensor(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(item for item in self._tensors if item["name"] == name)
        return found


class IExecutionContext:
    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine
        self._shapes = {item["name"]: tuple(item["shape"]) for item in engine.described["inputs"]}
        self._addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name] if name in self._shapes else self._engine.get_tensor_shape(name)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        refusal = self._engine.described.get("run_refusal")
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        if refusal or set(names) != set(self._addresses):
            self._engine.logger.log(Severity.ERROR, refusal or "a tensor has no address")
            return False
        HostStream.of_handle[stream_handle].queue(self._run)
        return True

    def _run(self) -> None:
        described = self._engine.described
        source = described["inputs"][0]
        values = self._array(source["name"], source["dtype"])
        if "onnx" in described:
            names = [item["name"] for item in described["outputs"]]
            results = _session(described["onnx"]).run(names, {source["name"]: values})
        else:
            scales = [item.get("scale", 1.0) for item in described["outputs"]]
            shapes = [self.get_tensor_shape(item["name"]) for item in described["outputs"]]
            results = [np.resize(values, shape) * scale for scale, shape in zip(scales, shapes, strict=True)]
        for item, result in zip(described["outputs"], results, strict=True):
            self._array(item["name"], item["dtype"])[...] = result

    def _array(self, name: str, dtype: str) -> NDArray[Any]:
        return _memory(self._addresses[name], self.get_tensor_shape(name), np.dtype(dtype))


class IExecutionContextOfRtx(IExecutionContext):
    def is_stream_capturable(self, stream: int) -> bool:
        return bool(self._engine.described.get("is_capturable", True))


class RuntimeOfRtx(Runtime):
    _context_class = IExecutionContextOfRtx


Runtime._context_class = IExecutionContext


class HostStream:
    """A `DeviceStream` whose device is the host's memory.

    Args:
        index: of the "GPU".
        limit_bytes: what may be allocated.
        capture_refusal: what recording a graph fails with.
    """

    of_handle: dict[int, HostStream] = {}  # noqa: RUF012 - shared as handles are
    _handles = itertools.count(1000)

    def __init__(self, index: int, *, limit_bytes: int = 1 << 30, capture_refusal: str = "") -> None:
        self.index = index
        self.replays = 0
        self.waits = 0
        self.allocations = 0
        self.is_closed = False
        self.allocated_bytes = 0
        self._limit_bytes = limit_bytes
        self._capture_refusal = capture_refusal
        self._handle = next(self._handles)
        self._queue: list[Callable[[], None]] = []
        self.of_handle[self._handle] = self

    @property
    def package(self) -> str:
        return "host memory"

    @property
    def handle(self) -> int:
        return self._handle

    def compute_capability(self) -> str:
        return "87"

    def activate(self) -> None:
        assert not self.is_closed

    def allocate(self, size_bytes: int) -> TransferBuffer:
        if self.allocated_bytes + size_bytes > self._limit_bytes:
            raise OutOfMemoryError(f"out of memory while allocating {size_bytes} bytes")
        self.allocated_bytes += size_bytes
        self.allocations += 1
        device = np.full(size_bytes, 0xFF, np.uint8)  # NaN: what nobody copies shows
        return TransferBuffer(np.full(size_bytes, 0xFF, np.uint8), device.ctypes.data, device)

    def copy_to_device(self, buffer: TransferBuffer) -> None:
        self.queue(lambda: np.copyto(buffer.owner, buffer.host))

    def copy_to_host(self, buffer: TransferBuffer) -> None:
        self.queue(lambda: np.copyto(buffer.host, buffer.owner))

    def queue(self, work: Callable[[], None]) -> None:
        assert not self.is_closed
        self._queue.append(work)

    @property
    def is_idle(self) -> bool:
        return not self._queue

    def synchronize(self) -> None:
        self.waits += 1
        while self._queue:
            self._queue.pop(0)()

    def capture(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        before, self._queue = self._queue, []
        try:
            enqueue()
            if self._capture_refusal:
                raise InferenceError(self._capture_refusal)
            recorded = self._queue
        finally:
            self._queue = before

        def replay() -> None:
            self.replays += 1
            for work in recorded:
                self.queue(work)

        return replay

    def close(self) -> None:
        self.is_closed = True
        self.allocated_bytes = 0


def describe_network(
    *,
    input_shape: tuple[int, ...] = (1, 3, 32, 32),
    outputs: tuple[dict[str, Any], ...] = ({"name": "descriptor", "shape": (1, 8), "dtype": "float16", "scale": 2.0},),
    layers: tuple[dict[str, Any], ...] = ({"type": "CONVOLUTION", "dtype": "float16"},),
    **more: Any,
) -> bytes:
    """A "model" that the stand-in parses, and an "engine" that it loads. By default it fits the reference network."""
    inputs = [{"name": "image", "shape": input_shape, "dtype": "float32"}]
    return json.dumps({"inputs": inputs, "outputs": outputs, "layers": layers, "profiles": {}, **more}).encode()


COMPARED = (
    ILogger, IProgressMonitor, ILayer, INetworkDefinition, IOptimizationProfile, ITimingCache, IBuilderConfig,
    IBuilderConfigOfRtx, Builder, ParserError, OnnxParser, Runtime, ICudaEngine, IExecutionContext,
    IExecutionContextOfRtx,
)  # fmt: skip
"""Classes whose methods must be those of the real class; `OfRtx` marks what TensorRT for RTX adds to one."""

ONLY_TENSORRT_10 = frozenset({"IBuilderConfig.int8_calibrator", "IBuilderConfig.set_calibration_profile"})
"""What TensorRT 11 and TensorRT for RTX have no more."""

_ENUMERATIONS = (DataType, TensorIOMode, LayerType, MemoryPoolType, NetworkDefinitionCreationFlag)


def make_tensorrt(version: str = "10.3.0") -> ModuleType:
    """A module like `tensorrt`. From version 11 on it has no weakly typed networks and no calibrators."""
    module = _module("tensorrt", version)
    if int(version.partition(".")[0]) < 11:
        module.__dict__["BuilderFlag"] = BuilderFlag
        module.__dict__["IInt8EntropyCalibrator2"] = IInt8EntropyCalibrator2
    return module


def make_tensorrt_rtx(version: str = "1.7.1.116") -> ModuleType:
    """A module like `tensorrt_rtx`."""
    module = _module("tensorrt_rtx", version)
    module.__dict__.update(Builder=BuilderOfRtx, Runtime=RuntimeOfRtx, ComputeCapability=ComputeCapability)
    return module


def _module(name: str, version: str) -> ModuleType:
    module = ModuleType(name)
    for item in (*COMPARED, *_ENUMERATIONS):
        setattr(module, item.__name__, item)
    module.__dict__.update(__version__=version, nptype=_nptype, BuilderFlag=enum.Enum("BuilderFlag", ["TF32"]))
    return module


def _nptype(trt_type: DataType) -> type[np.generic]:
    if trt_type is DataType.BF16:
        raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.")
    found: type[np.generic] = np.dtype(trt_type.value).type
    return found


def _described_onnx(content: bytes) -> dict[str, Any]:
    """What TensorRT's parser would find in a model of fixed shapes."""
    import onnx

    model = onnx.load_from_string(content)

    def tensors(values: Any) -> list[dict[str, Any]]:
        return [
            {
                "name": value.name,
                "shape": [item.dim_value for item in value.type.tensor_type.shape.dim],
                "dtype": onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name,
            }
            for value in values
        ]

    is_half = any(item.data_type == onnx.TensorProto.FLOAT16 for item in model.graph.initializer)
    return {
        "inputs": tensors(model.graph.input),
        "outputs": tensors(model.graph.output),
        "layers": [{"type": "CONVOLUTION", "dtype": "float16" if is_half else "float32"}],
        "onnx": base64.b64encode(content).decode(),
    }


@functools.cache
def _session(onnx_base64: str) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(base64.b64decode(onnx_base64), providers=["CPUExecutionProvider"])


def _memory(address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    size_bytes = int(np.prod(shape)) * dtype.itemsize
    return np.ctypeslib.as_array((ctypes.c_uint8 * size_bytes).from_address(address)).view(dtype).reshape(shape)
