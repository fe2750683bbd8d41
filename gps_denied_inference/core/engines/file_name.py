"""Names of engine files: what an engine is and where it runs can be read without opening it.

efficientnet_lite0_grid__tensorrt__sm87__jp6.2__trt10.3.0__fp16__0123456789ab.engine
model                    runtime   SMs   platform toolchain precision digest
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

from gps_denied_inference.core.contracts import PrecisionMode, RuntimeLabel
from gps_denied_inference.core.engines.host import HostTuple
from gps_denied_inference.core.errors import EngineSchemaMismatchError

__all__ = ["DIGEST_LENGTH", "EngineFileName"]

DIGEST_LENGTH = 12
_SEPARATOR = "__"
_ANY = "any"
_SUFFIXES = (".engine", ".onnx", ".safetensors", ".pth", ".pt", ".yaml")
_MODEL = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)*")
_SMS = re.compile(r"sm[0-9]{2,3}(?:-[0-9]{2,3})*")
_MACHINE = r"[a-z0-9]+(?:_[a-z0-9]+)*"
_PLATFORM = re.compile(rf"any|jp[0-9A-Za-z.]+|cuda([0-9]+(?:\.[0-9]+)*)-({_MACHINE})")
_VERSION = r"[0-9][0-9A-Za-z.]*"
_TOOLCHAIN = re.compile(rf"onnx|torch|fake|(trt|rtx)({_VERSION})|ortep({_VERSION})-trt({_VERSION})")
_DIGEST = re.compile(rf"[0-9a-f]{{{DIGEST_LENGTH}}}")
_FORM = "MODEL__RUNTIME__SMS__PLATFORM__TOOLCHAIN__PRECISION__DIGEST.SUFFIX"


@dataclass(frozen=True, slots=True)
class EngineFileName:
    """The parts of an engine's file name.

    Attributes:
        model: name of the architecture.
        runtime: that runs it.
        sms: compute capabilities that it was built for, ascending; empty runs on any.
        platform: `any`, `jp6.2` (JetPack) or `cuda13.0-x86_64` (CUDA and the processor).
        toolchain: `onnx`, `torch` or `fake` (portable), or what built it and alone can load it: `trt10.3.0`
            (TensorRT), `rtx1.7.1` (TensorRT for RTX), `ortep1.32.0-trt10.9.0` (ONNX Runtime and the TensorRT behind its
            provider).
        precision: that was asked for.
        digest: first 12 hex digits of the SHA-256 of the file.
        suffix: with the point.

    Raises:
        EngineSchemaMismatchError: a part has a form that could not be read back.
    """

    model: str
    runtime: RuntimeLabel
    sms: tuple[str, ...]
    platform: str
    toolchain: str
    precision: PrecisionMode
    digest: str
    suffix: str

    def __post_init__(self) -> None:
        for field, value, is_good in (
            ("model", self.model, _MODEL.fullmatch(self.model)),
            ("SMs", self._sms_text(), self.sms == () or _SMS.fullmatch(self._sms_text())),
            ("platform", self.platform, _PLATFORM.fullmatch(self.platform)),
            ("toolchain", self.toolchain, _TOOLCHAIN.fullmatch(self.toolchain)),
            ("digest", self.digest, _DIGEST.fullmatch(self.digest)),
            ("suffix", self.suffix, self.suffix in _SUFFIXES),
        ):
            if not is_good:
                raise EngineSchemaMismatchError(
                    f"'{value}' is no {field} of an engine's file name ({_FORM}, as in "
                    "efficientnet_lite0_grid__tensorrt__sm87__jp6.2__trt10.3.0__fp16__0123456789ab.engine)"
                )

    def text(self) -> str:
        """Return the file name."""
        parts = (
            self.model,
            self.runtime.value,
            self._sms_text(),
            self.platform,
            self.toolchain,
            self.precision.value,
            self.digest,
        )
        return _SEPARATOR.join(parts) + self.suffix

    @classmethod
    def parse(cls, name: str) -> EngineFileName:
        """Read a file name.

        Raises:
            EngineSchemaMismatchError: it is not of the schema.
        """
        suffix = PurePath(name).suffix
        parts = name.removesuffix(suffix).split(_SEPARATOR)
        if len(parts) != 7:
            raise EngineSchemaMismatchError(
                f"'{name}' is no engine's file name: it has {len(parts)} parts, the form is {_FORM}; engines are "
                "made by 'gdi engine build' and keep their names"
            )
        model, runtime, sms, platform, toolchain, precision, digest = parts
        try:
            runtime_label, precision_mode = RuntimeLabel(runtime), PrecisionMode(precision)
        except ValueError as error:
            raise EngineSchemaMismatchError(
                f"'{name}' is no engine's file name: {error}; the form is {_FORM}"
            ) from error
        if sms != _ANY and not _SMS.fullmatch(sms):
            raise EngineSchemaMismatchError(
                f"'{name}' is no engine's file name: SMs are '{sms}', not 'any' or 'sm87-89'"
            )
        numbers = () if sms == _ANY else tuple(sms.removeprefix("sm").split("-"))
        return cls(model, runtime_label, numbers, platform, toolchain, precision_mode, digest, suffix)

    def mismatches(self, host: HostTuple) -> tuple[str, ...]:
        """Say, in a sentence each, why a computer cannot run it; empty when it can."""
        problems = []
        if self.sms and not set(self.sms) & set(host.sms):
            have = f"SM {', '.join(host.sms)}" if host.sms else "no GPU"
            problems.append(f"it was built for SM {', '.join(self.sms)}, this computer has {have}")
        if self.platform.startswith("jp") and self.platform.removeprefix("jp") != host.jetpack:
            have = f"JetPack {host.jetpack}" if host.jetpack else "no JetPack"
            problems.append(f"it was built for JetPack {self.platform.removeprefix('jp')}, this computer has {have}")
        built_for = _PLATFORM.fullmatch(self.platform)
        assert built_for is not None
        cuda, machine = built_for.groups()
        if cuda is not None and (not host.cuda or _numbers(host.cuda) < _numbers(cuda)):
            have = f"runs CUDA up to {host.cuda}" if host.cuda else "has no CUDA driver"
            problems.append(f"it was built for CUDA {cuda}, this computer {have}")
        if machine is not None and machine != host.machine:
            problems.append(f"it was built for {machine}, this computer is {host.machine or 'of an unknown kind'}")
        for name, version, found in self._builders(host):
            if found != version:
                have = f"{name} {found}" if found else f"no {name}"
                problems.append(f"it was built by {name} {version}, this computer has {have}")
        return tuple(problems)

    def _builders(self, host: HostTuple) -> tuple[tuple[str, str, str], ...]:
        """Libraries that alone can load it: name, version that built it, version that the computer has."""
        match = _TOOLCHAIN.fullmatch(self.toolchain)
        assert match is not None
        kind, version, onnxruntime, tensorrt = match.groups()
        if kind == "trt":
            return (("TensorRT", version, host.tensorrt),)
        if kind == "rtx":
            return (("TensorRT for RTX", version, host.tensorrt_rtx),)
        if onnxruntime is not None:
            return (("ONNX Runtime", onnxruntime, host.onnxruntime), ("TensorRT", tensorrt, host.tensorrt))
        return ()

    def _sms_text(self) -> str:
        return "sm" + "-".join(self.sms) if self.sms else _ANY


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
