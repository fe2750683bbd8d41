"""Where and in which precision a network runs with torch, decided before anything is loaded."""

from __future__ import annotations

from gps_denied_inference.core.architectures.install_commands import install_command
from gps_denied_inference.core.contracts import EffectiveConfiguration, PrecisionMode
from gps_denied_inference.core.errors import RuntimeNotAvailableError, SettingsError
from gps_denied_inference.core.optional import require

__all__ = ["choose_placement"]

_CPU_PRECISION = "the CPU computes in FP32"


def choose_placement(device: str, precision: PrecisionMode, *, allow_cpu_fallback: bool) -> EffectiveConfiguration:
    """Decide on device and precision; whatever differs from the wish is allowed by the caller and carries a reason.

    Args:
        device: `cuda`, `cuda:N` or `cpu`.
        precision: FP16 or FP32.
        allow_cpu_fallback: run in FP32 on the CPU where the wish cannot be met.

    Raises:
        SettingsError: `device` is no such name.
        RuntimeNotAvailableError: the wish cannot be met and no fallback is allowed, or torch is absent.
    """
    torch = require("torch", install=install_command("torch"), purpose="the pytorch_fp16 runtime")
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise SettingsError("device", device, "cpu, cuda or cuda:N") from error
    if wanted.type not in ("cpu", "cuda"):
        raise SettingsError("device", device, "cpu, cuda or cuda:N")
    reason = ""
    if wanted.type == "cpu":
        if precision is not PrecisionMode.FP32:
            reason = f"{_CPU_PRECISION}, not {precision.value}"
    elif not torch.cuda.is_available():
        reason = f"torch {torch.__version__} finds no CUDA device; {_CPU_PRECISION}"
    elif (wanted.index or 0) >= torch.cuda.device_count():
        reason = f"this computer has {torch.cuda.device_count()} CUDA device(s), none is {device}; {_CPU_PRECISION}"
    if reason and not allow_cpu_fallback:
        raise RuntimeNotAvailableError(
            f"{precision.value} on '{device}' is not possible here: {reason}. Install a CUDA build of torch and its "
            "driver, or set allow_cpu_fallback:=true to run in FP32 on the CPU"
        )
    return EffectiveConfiguration(
        requested_precision=precision,
        effective_precision=PrecisionMode.FP32 if reason else precision,
        requested_device=device,
        effective_device="cpu" if reason or wanted.type == "cpu" else f"cuda:{wanted.index or 0}",
        provider=f"torch {torch.__version__}",
        fallback_reason=reason,
    )
