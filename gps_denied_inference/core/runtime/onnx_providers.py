"""Which execution providers a session is to have, and which it has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gps_denied_inference.core.contracts import EffectiveConfiguration, PrecisionMode
from gps_denied_inference.core.errors import RuntimeNotAvailableError, SettingsError

__all__ = ["PROVIDERS", "ProviderRequest", "device_index", "judge_placement", "request_providers"]

PROVIDERS: Mapping[str, str] = MappingProxyType(
    {
        "tensorrt": "TensorrtExecutionProvider",
        "cuda": "CUDAExecutionProvider",
        "cpu": "CPUExecutionProvider",
    }
)
"""Names in the settings, and those of ONNX Runtime."""

_CPU_PRECISION = "the CPU provider computes in FP32"
_MOST_OPERATORS_SHOWN = 6


@dataclass(frozen=True, slots=True)
class ProviderRequest:
    """What a session is asked for.

    Attributes:
        device: as the settings name it.
        precision: of the engine.
        wanted: the provider that is to run every node, e.g. `cuda`.
        names: what the session gets, the first being the one that is to run, e.g. `("cuda", "cpu")`.
        device_index: of the GPU.
        complaints: why something else than the wish was asked for; empty without one.
    """

    device: str
    precision: PrecisionMode
    wanted: str
    names: tuple[str, ...]
    device_index: int
    complaints: tuple[str, ...]

    def session_providers(self) -> list[tuple[str, dict[str, str]]]:
        """Providers with their options, for a session."""
        return [(PROVIDERS[name], _options(name, self)) for name in self.names]


def request_providers(
    *,
    preference: Sequence[str],
    device: str,
    precision: PrecisionMode,
    is_ep_context: bool,
    is_for_cuda: bool,
    available: Sequence[str],
    allow_fallback: bool,
) -> ProviderRequest:
    """Decide which providers to ask for, before anything is loaded.

    The first of the preference that fits the device is what is wanted; another one is a fallback.

    Args:
        preference: names of `PROVIDERS`, best first.
        device: `cpu`, `cuda` or `cuda:N`.
        precision: of the engine.
        is_ep_context: the engine holds what the TensorRT provider compiled: no other provider can run it.
        is_for_cuda: the engine was built for the CUDA provider: TensorRT is not wanted for it.
        available: ONNX Runtime's names of the providers of this build.
        allow_fallback: take the next one where the wanted one is not there.

    Raises:
        SettingsError: a name or the device is malformed.
        RuntimeNotAvailableError: the wish cannot be met and no fallback is allowed.
    """
    index = device_index(device)
    for name in preference:
        if name not in PROVIDERS:
            raise SettingsError("onnx_providers", name, ", ".join(PROVIDERS))
    fitting = _fitting(preference, device, is_for_cuda=is_for_cuda and not is_ep_context)
    complaints = []
    usable = []
    for name in fitting:
        reason = _why_not(name, is_ep_context=is_ep_context, available=available)
        if not reason:
            usable.append(name)
        elif not usable:
            complaints.append(reason)
    runs = usable[0] if usable else ""
    if runs == "cpu" and precision is not PrecisionMode.FP32:
        complaints.append(f"{_CPU_PRECISION}, not {precision.value}")
    if not usable or (complaints and not allow_fallback):
        raise RuntimeNotAvailableError(
            f"{precision.value} on '{device}' with provider '{fitting[0]}' is not possible here: "
            f"{'; '.join(complaints)}. Provide what is missing or change onnx_providers"
            + ("; allow_cpu_fallback:=true takes what is there" if usable else "")
        )
    # Shape arithmetic may only run on the CPU: it is always there, and what it runs is looked at afterwards.
    others = [name for name in fitting[fitting.index(runs) :] if PROVIDERS[name] in available]
    names = tuple(dict.fromkeys((*others, "cpu")))
    return ProviderRequest(device, precision, fitting[0], names, index, tuple(complaints))


def judge_placement(
    request: ProviderRequest, session: Any, version: str, *, allow_fallback: bool
) -> EffectiveConfiguration:
    """Compare the providers and the place of every node with the request.

    Args:
        request: what was asked for.
        session: the session, made with `session.record_ep_graph_assignment_info`.
        version: of ONNX Runtime.
        allow_fallback: report a difference instead of refusing it.

    Raises:
        RuntimeNotAvailableError: a provider is missing or nodes run elsewhere, and no fallback is allowed.
    """
    present = session.get_providers()
    expected = PROVIDERS[request.names[0]]
    complaints = list(request.complaints)
    if expected not in present:
        complaints.append(
            f"ONNX Runtime {version} could not start {expected} (its libraries or driver are missing) and took "
            f"{', '.join(present)}"
        )
    nodes = [
        (subgraph.ep_name, node.op_type)
        for subgraph in session.get_provider_graph_assignment_info()
        for node in subgraph.get_nodes()
    ]
    elsewhere = [(provider, operator) for provider, operator in nodes if provider != expected]
    if expected in present and elsewhere:
        complaints.append(f"{len(elsewhere)} of {len(nodes)} nodes run outside {expected}: {_shown(elsewhere)}")
    new = complaints[len(request.complaints) :]
    if new and not allow_fallback:
        raise RuntimeNotAvailableError(
            f"'{request.device}' with provider '{request.wanted}' was asked for, but {'; '.join(new)}. Repair the "
            "set-up, change onnx_providers, or set allow_cpu_fallback:=true to run like this"
        )
    is_on_gpu = expected in present and expected != PROVIDERS["cpu"]
    if (
        not is_on_gpu
        and request.precision is not PrecisionMode.FP32
        and not any(_CPU_PRECISION in c for c in complaints)
    ):
        complaints.append(f"{_CPU_PRECISION}, not {request.precision.value}")
    ran = expected if expected in present else present[0]
    return EffectiveConfiguration(
        requested_precision=request.precision,
        effective_precision=request.precision if is_on_gpu else PrecisionMode.FP32,
        requested_device=request.device,
        effective_device=f"cuda:{request.device_index}" if is_on_gpu else "cpu",
        provider=f"{ran} of onnxruntime {version}",
        fallback_reason="; ".join(complaints),
        requested_provider=PROVIDERS[request.wanted],
    )


def _fitting(preference: Sequence[str], device: str, *, is_for_cuda: bool) -> list[str]:
    """Providers of the preference that belong to the device; the CPU's is behind those of a GPU."""
    if device == "cpu":
        fitting = [name for name in preference if name == "cpu"]
    else:
        fitting = [name for name in preference if not (is_for_cuda and name == "tensorrt")]
    if not fitting or (fitting[0] == "cpu") != (device == "cpu"):
        first = "cpu" if device == "cpu" else "cuda or tensorrt"
        raise SettingsError(
            "onnx_providers", tuple(preference), f"for this engine on device '{device}', a list that has {first} first"
        )
    return fitting


def _why_not(name: str, *, is_ep_context: bool, available: Sequence[str]) -> str:
    if PROVIDERS[name] not in available:
        return f"this build of ONNX Runtime has no {PROVIDERS[name]} (it has {', '.join(available)})"
    if name == "tensorrt" and not is_ep_context:
        return "nothing was compiled for TensorRT in this engine; build it with --provider tensorrt before the flight"
    if name != "tensorrt" and is_ep_context:
        return f"the engine was compiled for TensorRT, which {PROVIDERS[name]} cannot run"
    return ""


def _options(name: str, request: ProviderRequest) -> dict[str, str]:
    if name == "cpu":
        return {}
    options = {"device_id": str(request.device_index)}
    if name == "cuda":
        # The same input gives the same output: no timing-dependent choice of algorithm, and FP32 is FP32, not TF32.
        return options | {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}
    return options | {"trt_fp16_enable": "1" if request.precision is PrecisionMode.FP16 else "0"}


def device_index(device: str) -> int:
    """Index of the GPU that `cuda` or `cuda:N` names; 0 for the CPU.

    Raises:
        SettingsError: it is no such name.
    """
    if device in ("cpu", "cuda"):
        return 0
    kind, separator, index = device.partition(":")
    if kind != "cuda" or not separator or not index.isdecimal():
        raise SettingsError("device", device, "cpu, cuda or cuda:N")
    return int(index)


def _shown(elsewhere: Sequence[tuple[str, str]]) -> str:
    counts = Counter(elsewhere).most_common()
    shown = ", ".join(
        f"{count} {operator} on {provider}" for (provider, operator), count in counts[:_MOST_OPERATORS_SHOWN]
    )
    return shown + (", …" if len(counts) > _MOST_OPERATORS_SHOWN else "")
