"""Stands for ONNX Runtime with its TensorRT provider, where models are compiled for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gps_denied_inference.core.runtime import onnx_ep_context

__all__ = ["CPU", "TENSORRT", "Provider", "install_provider"]

TENSORRT, CPU = "TensorrtExecutionProvider", "CPUExecutionProvider"


@dataclass
class Provider:
    """Writes what it is asked to write, and remembers what it was told."""

    version: str = "9.9"
    providers: tuple[str, ...] = (TENSORRT, CPU)
    places: tuple[str, ...] = (TENSORRT,)
    output: bytes | None = b"... EPContext ..."
    failure: Exception | None = None
    told: list[tuple[Sequence[tuple[str, Mapping[str, str]]], Mapping[str, str]]] = field(default_factory=list)

    def make_session(
        self,
        content: bytes,
        providers: Sequence[tuple[str, Mapping[str, str]]],
        _threads: object,
        entries: Mapping[str, str],
    ) -> Any:
        self.told.append((providers, entries))
        if self.failure is not None:
            raise self.failure
        if self.output is not None:
            Path(entries["ep.context_file_path"]).write_bytes(self.output + content)
        return SimpleNamespace(
            get_providers=lambda: list(self.providers),
            get_provider_graph_assignment_info=lambda: [SimpleNamespace(ep_name=name) for name in self.places],
        )


def install_provider(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put it in the place of ONNX Runtime, for what is compiled for TensorRT and nothing else."""
    ort = SimpleNamespace(__version__=provider.version, get_available_providers=lambda: [TENSORRT, CPU])
    monkeypatch.setattr(onnx_ep_context, "require_onnxruntime", lambda: ort)
    monkeypatch.setattr(onnx_ep_context, "make_session", provider.make_session)
