"""FP16 as a GPU computes it, on a CPU: values are stored in half precision, sums run in single."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["emulate_half_precision"]


def emulate_half_precision(module: Any) -> Any:
    """Round weights, and what each layer without layers inside returns, to half precision. Real half-precision
    convolutions take minutes on a CPU.
    """

    def rounded(values: Any) -> Any:
        if isinstance(values, torch.Tensor) and values.is_floating_point():
            return values.half().float()
        return values

    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            tensor.data = rounded(tensor.data)
    for layer in module.modules():
        if not list(layer.children()):
            layer.register_forward_hook(lambda _layer, _inputs, output: rounded(output))
    return module
