"""Commands that bring the optional packages which networks and runtimes need: one place for their pins."""

from __future__ import annotations

from types import MappingProxyType

__all__ = ["KORNIA_INSTALL", "TORCH_INSTALL", "TRANSFORMERS_INSTALL", "install_command"]

TORCH_INSTALL = "pip install torch==2.13.0"
KORNIA_INSTALL = "pip install kornia==0.9.0"
TRANSFORMERS_INSTALL = "pip install transformers==5.23.0"

_COMMANDS = MappingProxyType(
    {
        "torch": TORCH_INSTALL,
        "kornia": KORNIA_INSTALL,
        "kornia_rs": KORNIA_INSTALL,
        "transformers": TRANSFORMERS_INSTALL,
        "onnx": "pip install onnx==1.23.2",
        "onnxscript": "pip install onnxscript==0.7.2",
        "onnxruntime": "pip install onnxruntime==1.32.0",
        "tensorrt_rtx": "pip install tensorrt_rtx_cu13==1.7.1.116",
        "safetensors": "pip install safetensors==0.8.0",
    }
)


def install_command(package: str) -> str:
    """Command that installs an import package; a guess by its own name for packages that we don't pin."""
    return _COMMANDS.get(package, f"pip install {package}")
