"""Engines: what they are called, where they lie, whether they may run, and how near they are to FP32."""

from gps_denied_inference.core.engines.build_command import build_advice, build_command
from gps_denied_inference.core.engines.fidelity import FidelityReport, measure_fidelity
from gps_denied_inference.core.engines.file_name import EngineFileName
from gps_denied_inference.core.engines.gate import EngineGate, GateStep, GateVerdict
from gps_denied_inference.core.engines.golden import GoldenSet, read_golden
from gps_denied_inference.core.engines.host import HostTuple, probe_host
from gps_denied_inference.core.engines.manifest import Manifest, ManifestEntry
from gps_denied_inference.core.engines.memory_budget import MemoryBudget
from gps_denied_inference.core.engines.space import model_of_space, space_id
from gps_denied_inference.core.engines.store import EngineStore

__all__ = [
    "EngineFileName",
    "EngineGate",
    "EngineStore",
    "FidelityReport",
    "GateStep",
    "GateVerdict",
    "GoldenSet",
    "HostTuple",
    "Manifest",
    "ManifestEntry",
    "MemoryBudget",
    "build_advice",
    "build_command",
    "measure_fidelity",
    "model_of_space",
    "probe_host",
    "read_golden",
    "space_id",
]
