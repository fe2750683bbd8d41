"""The seam to the GPU on a real one: cuda-python and torch alike, and the passes that run on it.

TensorRT itself is a stand-in here, whose "network" is a kernel of torch on the buffers and the stream that it is given.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tensorrt_stand_in import IExecutionContext, Runtime, describe_network, make_tensorrt

from gps_denied_inference.core.contracts import BuildConfig
from gps_denied_inference.core.errors import InferenceError, OutOfMemoryError, RuntimeNotAvailableError
from gps_denied_inference.core.runtime.device_memory import DeviceStream, open_device_stream
from gps_denied_inference.core.runtime.device_memory_cuda import CudaPythonStream
from gps_denied_inference.core.runtime.device_memory_torch import TorchStream
from gps_denied_inference.core.runtime.tensorrt_binding import TensorrtBinding
from gps_denied_inference.core.runtime.tensorrt_runtime import TensorrtRuntime

torch = pytest.importorskip("torch", reason="torch is not installed")
if not torch.cuda.is_available():
    pytest.skip("needs a CUDA GPU", allow_module_level=True)
from test.core.runtime.reference_networks import REFERENCE_CNN, reference_registry  # noqa: E402 - needs torch

pytestmark = pytest.mark.gpu

OPENED: dict[str, Callable[[int], DeviceStream]] = {"cuda-python": CudaPythonStream, "torch": TorchStream}
MIB = 1 << 20


class DeviceArray:
    """Memory of the device, as torch takes it without a copy."""

    def __init__(self, address: int, shape: tuple[int, ...]) -> None:
        self.__cuda_array_interface__ = {"shape": shape, "typestr": "<f4", "data": (address, False), "version": 2}


class GpuContext(IExecutionContext):
    """Gives twice the first eight inputs."""

    def execute_async_v3(self, stream_handle: int) -> bool:
        source = torch.as_tensor(DeviceArray(self._addresses["image"], (8,)), device="cuda")
        target = torch.as_tensor(DeviceArray(self._addresses["descriptor"], (8,)), device="cuda")
        with torch.cuda.stream(torch.cuda.ExternalStream(stream_handle)):
            torch.mul(source, 2.0, out=target)
        return True


class GpuRuntime(Runtime):
    _context_class = GpuContext


@pytest.fixture(params=OPENED)
def opened(request: pytest.FixtureRequest) -> Callable[[int], DeviceStream]:
    if request.param == "cuda-python":
        pytest.importorskip("cuda.bindings.runtime", reason="cuda-python is not installed")
    return OPENED[request.param]


@pytest.fixture
def stream(opened: Callable[[int], DeviceStream]) -> Iterator[DeviceStream]:
    made = opened(0)
    yield made
    made.close()


def numbers(count: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, count, dtype=np.uint8)


def test_bytes_go_to_the_device_and_back(stream: DeviceStream) -> None:
    stream.activate()
    buffer = stream.allocate(5 * MIB + 3)
    expected = numbers(buffer.host.size, 1)
    buffer.host[:] = expected
    stream.copy_to_device(buffer)
    stream.synchronize()
    buffer.host[:] = 0
    stream.copy_to_host(buffer)
    stream.synchronize()
    np.testing.assert_array_equal(buffer.host, expected)
    assert buffer.device_address % 256 == 0  # what TensorRT asks of an address


def test_it_tells_of_the_gpu(stream: DeviceStream) -> None:
    assert stream.compute_capability() == "".join(map(str, torch.cuda.get_device_capability(0)))
    assert stream.handle != 0 and stream.package.split()[0] in OPENED


def test_a_graph_runs_when_it_is_launched_and_not_before(stream: DeviceStream) -> None:
    stream.activate()
    buffer = stream.allocate(MIB)

    def there_and_back() -> None:
        stream.copy_to_device(buffer)
        stream.copy_to_host(buffer)

    launch = stream.capture(there_and_back)
    for seed in range(3):
        expected = numbers(MIB, seed)
        buffer.host[:] = expected
        launch()
        stream.synchronize()
        np.testing.assert_array_equal(buffer.host, expected)


def test_a_capture_that_fails_leaves_the_stream_in_use(stream: DeviceStream) -> None:
    stream.activate()
    buffer = stream.allocate(1024)

    def fail() -> None:
        raise InferenceError("TensorRT did not start")

    with pytest.raises(InferenceError):
        stream.capture(fail)
    buffer.host[:] = 7
    stream.copy_to_device(buffer)
    stream.synchronize()
    buffer.host[:] = 0
    stream.copy_to_host(buffer)
    stream.synchronize()
    assert (buffer.host == 7).all()


def test_waiting_inside_a_capture_is_an_error_and_not_the_end(stream: DeviceStream) -> None:
    stream.activate()
    buffer = stream.allocate(1024)
    with pytest.raises(InferenceError):
        stream.capture(stream.synchronize)
    stream.copy_to_device(buffer)
    stream.synchronize()


def test_more_than_there_is_is_out_of_memory(stream: DeviceStream) -> None:
    stream.activate()
    with pytest.raises(OutOfMemoryError, match="release other engines"):
        stream.allocate(1 << 50)
    assert stream.allocate(1024).host.size == 1024


def taken_bytes(opened: Callable[[int], DeviceStream]) -> int:
    """Of torch's own account where torch allocates: it keeps for itself what is given back."""
    if opened is TorchStream:
        return int(torch.cuda.memory_allocated())
    free, total = torch.cuda.mem_get_info()
    return int(total - free)


def test_closing_gives_the_memory_back(opened: Callable[[int], DeviceStream]) -> None:
    warm = opened(0)
    warm.allocate(1024)
    warm.close()
    gc.collect()  # what other tests left is not given back in between
    before = taken_bytes(opened)
    made = opened(0)
    buffer = made.allocate(64 * MIB)
    assert taken_bytes(opened) >= before + 64 * MIB
    made.close()
    made.close()
    del made, buffer
    assert taken_bytes(opened) <= before + MIB


def test_a_gpu_that_is_not_there_is_refused(opened: Callable[[int], DeviceStream]) -> None:
    with pytest.raises(RuntimeNotAvailableError, match="none has index 99"):
        opened(99)
    with pytest.raises(RuntimeNotAvailableError, match=r"cannot use GPU 99: .*; .*"):
        open_device_stream(99)


def test_passes_run_as_one_graph_and_are_whole(opened: Callable[[int], DeviceStream], tmp_path: Path) -> None:
    module = make_tensorrt()
    module.__dict__["Runtime"] = GpuRuntime
    output = {"name": "descriptor", "shape": (1, 8), "dtype": "float32"}
    path = tmp_path / f"{REFERENCE_CNN}.onnx"
    layers = ({"type": "CONVOLUTION", "dtype": "float16"},)
    path.write_bytes(describe_network(outputs=(output,), layers=layers))
    with TensorrtRuntime(
        architecture_registry=reference_registry(),
        find_binding=lambda _flavour: TensorrtBinding("tensorrt", module),
        open_stream=opened,
    ) as runtime:
        handle = runtime.deserialize_engine(runtime.compile_engine(path, BuildConfig()))
        assert handle.configuration.provider.endswith(", CUDA graph")
        generator = np.random.default_rng(5)
        for _ in range(200):
            image = generator.random((1, 3, 32, 32), dtype=np.float32)
            found = runtime.infer(handle, {"image": image})["descriptor"]
            np.testing.assert_array_equal(found, image.reshape(-1)[:8][None] * np.float32(2))
