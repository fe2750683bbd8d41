"""Which providers are asked for, and what is said about those that came, without a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from gps_denied_inference.core.contracts import PrecisionMode
from gps_denied_inference.core.errors import RuntimeNotAvailableError
from gps_denied_inference.core.runtime.onnx_providers import ProviderRequest, judge_placement, request_providers

TENSORRT, CUDA, CPU = "TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"


@dataclass
class Node:
    op_type: str


@dataclass
class Subgraph:
    ep_name: str
    nodes: Sequence[Node]

    def get_nodes(self) -> Sequence[Node]:
        return self.nodes


class PlacedSession:
    """Reports these providers, and these nodes on them."""

    def __init__(self, providers: Sequence[str], nodes: Sequence[tuple[str, str]]) -> None:
        self.providers = list(providers)
        self.nodes = nodes

    def get_providers(self) -> list[str]:
        return self.providers

    def get_provider_graph_assignment_info(self) -> list[Subgraph]:
        return [Subgraph(provider, [Node(operator)]) for provider, operator in self.nodes]


def ask(**changes: Any) -> ProviderRequest:
    wish: dict[str, Any] = {
        "preference": ("tensorrt", "cuda", "cpu"),
        "device": "cuda:1",
        "precision": PrecisionMode.FP16,
        "is_ep_context": False,
        "is_for_cuda": True,
        "available": (TENSORRT, CUDA, CPU),
        "allow_fallback": False,
    }
    return request_providers(**{**wish, **changes})


def test_cuda_gets_its_device_and_deterministic_algorithms() -> None:
    assert ask().session_providers() == [
        (CUDA, {"device_id": "1", "cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}),
        (CPU, {}),
    ]


def test_compiled_engine_gets_tensorrt_first_and_its_precision() -> None:
    request = ask(is_ep_context=True, is_for_cuda=False)
    assert request.names == ("tensorrt", "cuda", "cpu")
    assert request.session_providers()[0] == (TENSORRT, {"device_id": "1", "trt_fp16_enable": "1"})


def test_portable_engine_where_tensorrt_is_preferred_is_a_fallback() -> None:
    with pytest.raises(RuntimeNotAvailableError, match="nothing was compiled for TensorRT"):
        ask(is_for_cuda=False)
    request = ask(is_for_cuda=False, allow_fallback=True)
    assert request.names == ("cuda", "cpu")
    assert "nothing was compiled for TensorRT" in request.complaints[0]
    assert ask(is_for_cuda=False, preference=("cuda", "cpu")).complaints == ()


def test_all_nodes_where_they_were_asked_for_is_no_fallback() -> None:
    session = PlacedSession([CUDA, CPU], [(CUDA, "Conv"), (CUDA, "Relu")])
    configuration = judge_placement(ask(), session, "9.9", allow_fallback=False)
    assert configuration.fallback_reason == ""
    assert configuration.effective_device == "cuda:1"
    assert configuration.effective_precision is PrecisionMode.FP16


def test_nodes_elsewhere_are_refused_or_reported_with_their_operators() -> None:
    session = PlacedSession([CUDA, CPU], [(CUDA, "Conv"), (CPU, "TopK"), (CPU, "TopK")])
    with pytest.raises(RuntimeNotAvailableError, match="2 TopK on CPUExecutionProvider"):
        judge_placement(ask(), session, "9.9", allow_fallback=False)
    configuration = judge_placement(ask(), session, "9.9", allow_fallback=True)
    assert "2 of 3 nodes run outside CUDAExecutionProvider" in configuration.fallback_reason
    assert configuration.effective_device == "cuda:1"


def test_provider_that_did_not_start_is_refused_or_reported_with_what_runs() -> None:
    session = PlacedSession([CPU], [(CPU, "Conv")])
    with pytest.raises(RuntimeNotAvailableError, match="could not start CUDAExecutionProvider"):
        judge_placement(ask(), session, "9.9", allow_fallback=False)
    configuration = judge_placement(ask(), session, "9.9", allow_fallback=True)
    assert "could not start CUDAExecutionProvider" in configuration.fallback_reason
    assert configuration.requested_provider == CUDA and configuration.provider.startswith(CPU)
    assert "FP32, not fp16" in configuration.fallback_reason
    assert (configuration.effective_device, configuration.effective_precision) == ("cpu", PrecisionMode.FP32)
