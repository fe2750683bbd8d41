"""When a network is replayed from a recording and when not; the recording itself needs a CUDA GPU."""

import gc
import logging
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gps_denied_inference.core.architectures import ArchitectureRegistry
from gps_denied_inference.core.contracts import EffectiveConfiguration, PrecisionMode
from gps_denied_inference.core.errors import OutOfMemoryError
from gps_denied_inference.core.runtime.recording_thread import on_recording_thread
from gps_denied_inference.core.runtime.torch_network import Recorder, TorchNetwork, backend_errors
from test.core.runtime.reference_networks import seeded_reference, spec_for

_IMAGE = {"image": np.random.default_rng(1).standard_normal((1, 3, 32, 32), dtype=np.float32)}


class PlainRecording:
    """Replays by running the network; `factor` makes it lie."""

    def __init__(self, run: Any, factor: float) -> None:
        self._run, self._factor = run, factor
        self.replays = 0

    def replay(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        import torch

        self.replays += 1
        outputs = self._run([torch.tensor(values) for values in inputs.values()])
        return {name: output.numpy() * np.float32(self._factor) for name, output in outputs.items()}


def network(recorder: Recorder | None, factory: Callable[[], Any] = seeded_reference) -> TorchNetwork:
    registry = ArchitectureRegistry()
    registry.register("reference_cnn", factory, spec=spec_for((1, 3, 32, 32), ("descriptor",), 8))
    configuration = EffectiveConfiguration(
        requested_precision=PrecisionMode.FP32,
        effective_precision=PrecisionMode.FP32,
        requested_device="cpu",
        effective_device="cpu",
        provider="torch",
    )
    made = TorchNetwork(registry.lookup("reference_cnn"), factory().state_dict(), configuration, recorder=recorder)
    made.warm_up()
    return made


def test_network_is_warmed_and_recorded_on_the_recording_thread() -> None:
    threads: list[threading.Thread] = []

    def record(run: Any, _inputs: Sequence[Any], _device: Any) -> PlainRecording:
        threads.append(threading.current_thread())
        return PlainRecording(run, 1.0)

    network(record)
    assert threads == [on_recording_thread(threading.current_thread)]


def test_recorded_network_is_replayed() -> None:
    recordings: list[PlainRecording] = []

    def record(run: Any, inputs: Sequence[Any], device: Any) -> PlainRecording:
        assert [spec.name for spec in inputs] == ["image"]
        recordings.append(PlainRecording(run, 1.0))
        return recordings[-1]

    made, plain = network(record), network(None)
    assert made.is_recorded and not plain.is_recorded
    checked = recordings[0].replays
    np.testing.assert_array_equal(made.forward(_IMAGE)["descriptor"], plain.forward(_IMAGE)["descriptor"])
    assert recordings[0].replays == checked + 1


def test_network_that_cannot_be_recorded_runs_call_by_call_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(run: Any, inputs: Sequence[Any], device: Any) -> PlainRecording:
        raise RuntimeError("operation not permitted when stream is capturing\nand advice")

    caplog.set_level(logging.INFO)
    made = network(refuse)
    assert not made.is_recorded
    assert made.recording_refusal == "operation not permitted when stream is capturing"
    assert "reference_cnn: not recorded as a CUDA graph, runs call by call: operation not permitted" in caplog.text
    np.testing.assert_array_equal(made.forward(_IMAGE)["descriptor"], network(None).forward(_IMAGE)["descriptor"])


@pytest.mark.parametrize("factor", [1.01, float("nan")])
def test_replay_that_differs_from_the_network_is_refused(factor: float) -> None:
    made = network(lambda run, inputs, device: PlainRecording(run, factor))
    assert not made.is_recorded
    assert "another 'descriptor'" in made.recording_refusal
    np.testing.assert_array_equal(made.forward(_IMAGE)["descriptor"], network(None).forward(_IMAGE)["descriptor"])


def test_nothing_is_recorded_on_a_cpu() -> None:
    from gps_denied_inference.core.runtime.cuda_graph import CudaGraph

    made = network(CudaGraph)
    assert not made.is_recorded and made.recording_refusal == ""


def test_network_that_fails_while_it_is_warmed_is_let_go_before_the_error_is_told() -> None:
    import torch

    alive: list[weakref.ref[Any]] = []

    class Greedy(torch.nn.Module):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.head = torch.nn.Linear(1, 1)
            alive.append(weakref.ref(self.head))

        def forward(self, image: Any) -> Any:
            raise torch.OutOfMemoryError(f"CUDA out of memory for {image.shape}")

    def warm() -> None:
        network(lambda *_: PlainRecording(None, 1.0), Greedy)

    gc.collect()
    gc.disable()
    try:
        with pytest.raises(OutOfMemoryError) as caught, backend_errors("loading"):
            warm()
        assert caught.value.__cause__ is not None
        assert [reference() for reference in alive] == [None, None]
    finally:
        gc.enable()
