"""Which network, with which weights, runs as what."""

from __future__ import annotations

from dataclasses import dataclass

from gps_denied_inference.core.contracts import ArchitectureSpec, EffectiveConfiguration, RuntimeLabel
from gps_denied_inference.core.engines import FidelityReport, space_id

__all__ = ["ModelIdentity", "space_id"]


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """What a pipeline runs.

    Attributes:
        engine: name of the engine in the settings.
        name: architecture.
        weights_sha256: of the checkpoint that the engine was made of, lower-case hex.
        spec: the architecture's, with the settings' overrides applied.
        runtime_label: the runtime that runs it.
        configuration: requested and effective precision and device, with the reason.
        is_gated: False when it was loaded under `allow_ungated`.
        engine_file, engine_sha256: name and hash of the file that was loaded.
        gate_complaint: why it did not pass the gate; empty when it did.
        fidelity: how near its outputs are to the FP32 reference; None when nothing was measured.
    """

    engine: str
    name: str
    weights_sha256: str
    spec: ArchitectureSpec
    runtime_label: RuntimeLabel
    configuration: EffectiveConfiguration
    is_gated: bool
    engine_file: str = ""
    engine_sha256: str = ""
    gate_complaint: str = ""
    fidelity: FidelityReport | None = None

    @property
    def space_id(self) -> str:
        return space_id(self.name, self.weights_sha256, self.spec)
