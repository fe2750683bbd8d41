"""Validated, frozen settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gps_denied_inference.core.contracts import PrecisionMode, ResizeMode, RuntimeLabel
from gps_denied_inference.core.errors import SettingsError
from gps_denied_inference.core.settings.field import SettingField
from gps_denied_inference.core.settings.fields import ENGINE_FIELDS, GENERAL_FIELDS

__all__ = ["EngineSettings", "Settings", "settings_from_mapping"]

_DEVICE = re.compile(r"cpu|cuda:\d+")
_ENGINE_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What to load, and on what. Field by field as in `ENGINE_FIELDS`.

    Attributes:
        resize_mode: None means the architecture's own.
        checkpoint: None means looked up in `weights_dir`, then in installed packages.
    """

    name: str = "primary"
    runtime: RuntimeLabel = RuntimeLabel.PYTORCH_FP16
    model: str = "efficientnet_lite0_grid"
    checkpoint: Path | None = None
    precision: PrecisionMode = PrecisionMode.FP16
    device: str = "cuda:0"
    resize_mode: ResizeMode | None = None
    engine_file: str = ""
    onnx_providers: tuple[str, ...] = ("tensorrt", "cuda", "cpu")
    intra_op_threads: int = 0
    allow_spinning: bool = False
    tensorrt_flavour: str = "auto"
    top_k: int = 0

    def __post_init__(self) -> None:
        if not _ENGINE_NAME.fullmatch(self.name):
            raise SettingsError("engines", self.name, "names of lower-case letters, digits and underscores")
        if not _DEVICE.fullmatch(self.device):
            raise SettingsError(f"{self.name}.device", self.device, "'cpu' or 'cuda:N'")
        if Path(self.engine_file).name != self.engine_file:
            raise SettingsError(f"{self.name}.engine_file", self.engine_file, "a file name without a folder")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that decides what a process loads and how it treats frames. Field by field as in `GENERAL_FIELDS`."""

    engines: tuple[EngineSettings, ...] = (EngineSettings(),)
    weights_dir: Path | None = None
    engine_store: Path | None = None
    require_signature: bool = False
    trusted_keys: tuple[Path, ...] = ()
    gpu_memory_budget_bytes: int = 4 * 1024**3
    fidelity_min_cosine: float = 0.99
    fidelity_min_repeatability: float = 0.9
    allow_cpu_fallback: bool = False
    allow_ungated: bool = False
    enabled_runtimes: frozenset[RuntimeLabel] = field(default_factory=lambda: frozenset(RuntimeLabel))
    architecture_modules: tuple[str, ...] = ()
    accepted_licenses: tuple[str, ...] = ()
    thermal_sources: tuple[str, ...] = ("auto",)
    thermal_timeline: Path | None = None
    thermal_poll_hz: float = 2.0
    per_frame_debug_log: bool = False
    max_frame_age_ms: float = 400.0

    def __post_init__(self) -> None:
        names = [engine.name for engine in self.engines]
        if not names or len(set(names)) != len(names):
            raise SettingsError("engines", names, "at least one name, each once")

    def engine(self, name: str | None = None) -> EngineSettings:
        """Return the engine of that name, or the first one.

        Raises:
            SettingsError: no engine has that name.
        """
        for engine in self.engines:
            if name is None or engine.name == name:
                return engine
        raise SettingsError("engines", name, "one of " + ", ".join(engine.name for engine in self.engines))


def settings_from_mapping(values: Mapping[str, object]) -> Settings:
    """Build settings from flat names, as ROS parameters and YAML give them.

    Args:
        values: `max_frame_age_ms` → 400.0, `engines` → ["primary"], `primary.model` → "xfeat", …; what is missing takes
            its default.

    Raises:
        SettingsError: an unknown name, or a wrong value; names the field, the value and the allowed range.
    """
    names = _read(GENERAL_FIELDS, "engines", values)
    assert isinstance(names, tuple)
    known = {item.name for item in GENERAL_FIELDS} | {f"{n}.{item.name}" for n in names for item in ENGINE_FIELDS}
    for key in values:
        if key not in known:
            raise SettingsError(key, values[key], "a known name: " + ", ".join(sorted(known)))
    general = {item.name: item.validated(values.get(item.name, item.default)) for item in GENERAL_FIELDS}
    return Settings(
        engines=tuple(_engine(name, values) for name in names),
        weights_dir=_path(general["weights_dir"]),
        engine_store=_path(general["engine_store"]),
        require_signature=bool(general["require_signature"]),
        trusted_keys=tuple(Path(key).expanduser() for key in _strings(general["trusted_keys"])),
        gpu_memory_budget_bytes=int(str(general["gpu_memory_budget_bytes"])),
        fidelity_min_cosine=float(str(general["fidelity_min_cosine"])),
        fidelity_min_repeatability=float(str(general["fidelity_min_repeatability"])),
        allow_cpu_fallback=bool(general["allow_cpu_fallback"]),
        allow_ungated=bool(general["allow_ungated"]),
        enabled_runtimes=frozenset(RuntimeLabel(label) for label in _strings(general["enabled_runtimes"])),
        architecture_modules=_strings(general["architecture_modules"]),
        accepted_licenses=_strings(general["accepted_licenses"]),
        thermal_sources=_strings(general["thermal_sources"]),
        thermal_timeline=_path(general["thermal_timeline"]),
        thermal_poll_hz=float(str(general["thermal_poll_hz"])),
        per_frame_debug_log=bool(general["per_frame_debug_log"]),
        max_frame_age_ms=float(str(general["max_frame_age_ms"])),
    )


def _read(fields: tuple[SettingField, ...], name: str, values: Mapping[str, object], prefix: str = "") -> object:
    item = next(item for item in fields if item.name == name)
    return item.validated(values.get(prefix + name, item.default), prefix=prefix)


def _strings(value: object) -> tuple[str, ...]:
    # ROS cannot express an empty list in a parameter file; [""] stands for it.
    return tuple(item for item in value if item) if isinstance(value, tuple) else ()


def _path(value: object) -> Path | None:
    return Path(str(value)).expanduser() if value else None


def _engine(name: str, values: Mapping[str, object]) -> EngineSettings:
    prefix = f"{name}."
    read = {item.name: _read(ENGINE_FIELDS, item.name, values, prefix) for item in ENGINE_FIELDS}
    resize_mode = str(read["resize_mode"])
    return EngineSettings(
        name=name,
        runtime=RuntimeLabel(read["runtime"]),
        model=str(read["model"]),
        checkpoint=_path(read["checkpoint"]),
        precision=PrecisionMode(read["precision"]),
        device=str(read["device"]),
        resize_mode=None if resize_mode == "architecture" else ResizeMode(resize_mode),
        engine_file=str(read["engine_file"]),
        onnx_providers=_strings(read["onnx_providers"]),
        intra_op_threads=int(str(read["intra_op_threads"])),
        allow_spinning=bool(read["allow_spinning"]),
        tensorrt_flavour=str(read["tensorrt_flavour"]),
        top_k=int(str(read["top_k"])),
    )
