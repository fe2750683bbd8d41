"""What ONNX Runtime raises, as our error family."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from types import ModuleType

from gps_denied_inference.core.errors import GpsDeniedInferenceError, InferenceError, OutOfMemoryError
from gps_denied_inference.core.optional import require

__all__ = ["onnxruntime_errors", "require_onnxruntime"]

_INSTALL = "pip install onnxruntime==1.32.0 (CPU) or onnxruntime-gpu==1.32.0 (CUDA, TensorRT), never both"
_OUT_OF_MEMORY = (
    "out of memory",
    "Failed to allocate memory",
    "OUT_OF_MEMORY",
    "ALLOC_FAILED",
    "bad_alloc",
    "cudaErrorMemoryAllocation",
)


def require_onnxruntime() -> ModuleType:
    """Import `onnxruntime`, or say how to get it.

    Raises:
        RuntimeNotAvailableError: it is absent or broken.
    """
    return require("onnxruntime", install=_INSTALL, purpose="the onnx_trt_ep runtime")


@contextlib.contextmanager
def onnxruntime_errors(doing: str, error_type: type[GpsDeniedInferenceError] = InferenceError) -> Iterator[None]:
    """Turn what ONNX Runtime raises into our family.

    Args:
        doing: what was tried, for messages.
        error_type: for everything but exhausted memory.
    """
    try:
        yield
    except GpsDeniedInferenceError:
        raise
    except Exception as error:  # its exceptions have no common base but this; only our family leaves a runtime
        # The chained exception outlives this call; its frames would keep the session that filled the memory.
        traceback.clear_frames(error.__traceback__)
        reason = (str(error).splitlines() or [""])[0]
        if isinstance(error, MemoryError) or any(mark in str(error) for mark in _OUT_OF_MEMORY):
            raise OutOfMemoryError(
                f"out of memory while {doing}: {reason}. Release other engines or take a smaller network; the runtime "
                "stays usable"
            ) from error
        raise error_type(f"ONNX Runtime failed while {doing} ({type(error).__name__}: {reason})") from error
