"""The error family. Nothing else leaves the public functions of this package on bad input or a failing backend.

    GpsDeniedInferenceError
    ├── SettingsError                    a setting or ROS parameter has a wrong value
    ├── ImageDecodeError                 bytes that are not the image they claim to be
    │   └── UnsupportedEncodingError     an encoding that no decoder knows
    ├── RegistryError
    │   ├── UnknownArchitectureError     a name that nobody registered
    │   ├── DuplicateArchitectureError   another registration holds the name
    │   └── LicenseNotAcceptedError      weights whose licence restricts their use, and nobody accepted it
    ├── EngineError                      (also carries what the gate and the store say)
    │   ├── EngineBuildError
    │   ├── EngineDeserializeError
    │   ├── EngineHashMismatchError
    │   ├── EngineSchemaMismatchError
    │   ├── EngineSidecarMissingError
    │   ├── EngineManifestError
    │   ├── EngineFidelityError
    │   └── CalibrationCacheError
    ├── InferenceError                   bad handle, input name, shape, dtype or value; a failing backend
    │   └── NonFiniteOutputError         the network returned NaN or Inf
    ├── OutOfMemoryError                 the device's memory is exhausted, while loading or inferring
    ├── RuntimeNotAvailableError         a runtime that is disabled, or whose package or device is absent
    ├── TelemetryUnavailableError        a thermal source cannot be read
    ├── ReplayError                      a bag that cannot be read or written
    └── EvaluationError                  data to be judged by that cannot be read, or that lack what is needed

A third-party exception is wrapped once, where it is first met, and stays reachable as `__cause__`.
"""

from __future__ import annotations

__all__ = [
    "CalibrationCacheError",
    "DuplicateArchitectureError",
    "EngineBuildError",
    "EngineDeserializeError",
    "EngineError",
    "EngineFidelityError",
    "EngineHashMismatchError",
    "EngineManifestError",
    "EngineSchemaMismatchError",
    "EngineSidecarMissingError",
    "EvaluationError",
    "GpsDeniedInferenceError",
    "ImageDecodeError",
    "InferenceError",
    "LicenseNotAcceptedError",
    "NonFiniteOutputError",
    "OutOfMemoryError",
    "RegistryError",
    "ReplayError",
    "RuntimeNotAvailableError",
    "SettingsError",
    "TelemetryUnavailableError",
    "UnknownArchitectureError",
    "UnsupportedEncodingError",
]


class GpsDeniedInferenceError(Exception):
    """Root of the family. The message says what came, what was expected and what to do."""


class SettingsError(GpsDeniedInferenceError):
    """A setting has a wrong value.

    Attributes:
        field: dotted name of the setting, e.g. `primary.top_k`.
        value: what was given.
        allowed: the allowed values or range, in words.
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(f"setting '{field}' is {value!r}; allowed: {allowed}")
        self.field = field
        self.value = value
        self.allowed = allowed


class ImageDecodeError(GpsDeniedInferenceError):
    """The bytes of a frame are not the image that its header claims."""


class UnsupportedEncodingError(ImageDecodeError):
    """The encoding (or compressed format) of a frame is one that we don't decode."""


class RegistryError(GpsDeniedInferenceError):
    """Something is wrong with an architecture registration."""


class UnknownArchitectureError(RegistryError):
    """Nobody registered this name; the message names near matches."""


class DuplicateArchitectureError(RegistryError):
    """The name is taken by a different registration."""


class LicenseNotAcceptedError(RegistryError):
    """The licence of a network's weights restricts their use, and the settings don't accept it."""


class EngineError(GpsDeniedInferenceError):
    """Something is wrong with an engine file."""


class EngineBuildError(EngineError):
    """An engine could not be compiled, or its source model is missing or malformed."""


class EngineDeserializeError(EngineError):
    """An engine could not be loaded: missing file, foreign content, mismatched or unregistered network."""


class EngineHashMismatchError(EngineError):
    """The bytes of an engine are not the ones its sidecar or manifest names."""


class EngineSchemaMismatchError(EngineError):
    """The engine's file name, or the host it was built for, does not fit this computer."""


class EngineSidecarMissingError(EngineError):
    """The engine has no `.sha256` file beside it."""


class EngineManifestError(EngineError):
    """The manifest is missing, malformed, unsigned, or has no entry for the engine."""


class EngineFidelityError(EngineError):
    """The engine's outputs for the golden inputs are too far from the FP32 reference."""


class CalibrationCacheError(EngineError):
    """An INT8 calibration cache does not fit its data set, or is corrupt."""


class InferenceError(GpsDeniedInferenceError):
    """A forward pass was refused (handle, input name, shape, dtype, value) or failed in the backend."""


class NonFiniteOutputError(InferenceError):
    """The network returned NaN or Inf; the output is withheld."""


class OutOfMemoryError(GpsDeniedInferenceError):
    """The device has no memory left for this model or this forward pass. The runtime stays usable."""


class RuntimeNotAvailableError(GpsDeniedInferenceError):
    """A runtime is disabled, or its package or device is absent; the message says how to get it."""


class TelemetryUnavailableError(GpsDeniedInferenceError):
    """A thermal source cannot be read."""


class ReplayError(GpsDeniedInferenceError):
    """A bag cannot be read, holds no images, or cannot be written."""


class EvaluationError(GpsDeniedInferenceError):
    """Images, positions, maps or pairs to be judged by cannot be read, or lack what the figures need."""
