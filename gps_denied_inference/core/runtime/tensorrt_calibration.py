"""INT8 by calibration, for weakly typed networks of TensorRT 10.

A calibration cache is trusted only with its sidecar, which names the SHA-256 of the cache itself, of the data set and
of the model. Anything else is an error: neither is ever overwritten.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.atomic_files import write_atomically
from gps_denied_inference.core.errors import CalibrationCacheError, EngineBuildError, GpsDeniedInferenceError
from gps_denied_inference.core.runtime.device_memory import DeviceStream

__all__ = ["CalibrationCache", "CalibrationSet", "Calibration", "make_calibrator", "read_calibration_set"]

_SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class CalibrationCache:
    """Scales that a calibration found, and what they were found from.

    Attributes:
        path: of the cache; its sidecar is `<path>.json`.
        dataset_sha256: of the images.
        model_sha256: of the ONNX file.
    """

    path: Path
    dataset_sha256: str
    model_sha256: str

    @property
    def sidecar(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def read(self) -> bytes | None:
        """Return the cache when it can be trusted, None when there is none.

        Raises:
            CalibrationCacheError: it is unreadable, incomplete, damaged, or of other data.
        """
        try:
            content, stated = _read(self.path), _read(self.sidecar)
        except OSError as error:
            raise self._refused(f"it cannot be read ({error})") from error
        if content is None and stated is None:
            return None
        if content is None or stated is None:
            missing = self.path if content is None else self.sidecar
            raise self._refused(f"{missing.name} is missing, so that nothing proves the other")
        names = ("cache_sha256", "dataset_sha256", "model_sha256")
        try:
            claims = json.loads(stated)
            if claims["schema_version"] != _SCHEMA_VERSION:
                raise ValueError(f"schema_version is {claims['schema_version']!r}, not {_SCHEMA_VERSION}")
            cache, dataset, model = (str(claims[name]) for name in names)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise self._refused(f"{self.sidecar.name} is corrupt ({type(error).__name__}: {error})") from error
        found = hashlib.sha256(content).hexdigest()
        if cache != found:
            raise self._refused(f"its SHA-256 is {found}, its sidecar says {cache}")
        if dataset != self.dataset_sha256:
            raise self._refused(f"it was made from the data set {dataset}, not from {self.dataset_sha256}")
        if model != self.model_sha256:
            raise self._refused(f"it was made for the model {model}, not for {self.model_sha256}")
        return content

    def write(self, content: bytes) -> None:
        """Keep a fresh calibration. The sidecar comes last: without it the cache is not trusted.

        Raises:
            CalibrationCacheError: there is one that this calibration would overwrite, and it differs or is damaged.
            EngineBuildError: the folder cannot be written.
        """
        kept = self.read()
        if kept is not None:
            if kept != content:
                raise self._refused("a new calibration gave other values")
            return
        claims = {
            "schema_version": _SCHEMA_VERSION,
            "cache_sha256": hashlib.sha256(content).hexdigest(),
            "dataset_sha256": self.dataset_sha256,
            "model_sha256": self.model_sha256,
        }
        write_atomically(self.path, content)
        write_atomically(self.sidecar, (json.dumps(claims, indent=1, sort_keys=True) + "\n").encode())

    def _refused(self, reason: str) -> CalibrationCacheError:
        return CalibrationCacheError(
            f"the calibration cache {self.path} is not used: {reason}. Remove it and its sidecar to calibrate again, "
            "or give the data set and model that it belongs to"
        )


@dataclass(frozen=True, slots=True)
class CalibrationSet:
    """Prepared inputs.

    Attributes:
        images: (N, C, H, W) float32, as `infer` takes them.
        sha256: of the file that they come from.
    """

    images: NDArray[np.float32]
    sha256: str


def read_calibration_set(path: Path, batch_shape: tuple[int, ...]) -> CalibrationSet:
    """Read the images of a calibration.

    Raises:
        EngineBuildError: the file is no such array, does not fit the network, or holds NaN or Inf.
    """
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        images = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise EngineBuildError(f"cannot read the calibration images {path} ({error}); give a .npy file") from error
    fits = isinstance(images, np.ndarray) and images.dtype == np.float32 and images.shape[1:] == batch_shape[1:]
    if not fits or not len(images) or len(images) % batch_shape[0]:
        found = f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
        raise EngineBuildError(
            f"{path} holds {found}; the network calibrates on float32 images of {batch_shape[1:]}, in batches of "
            f"{batch_shape[0]}"
        )
    if not np.isfinite(images).all():
        raise EngineBuildError(f"{path} holds NaN or Inf; prepare the calibration images again")
    return CalibrationSet(images, sha256)


class Calibration:
    """Hands a data set to TensorRT batch by batch, and keeps what it found until the build has succeeded.

    Args:
        cache: where earlier results are.
        images: (N, C, H, W) float32.
        batch_size: images of one batch.
        make_stream: makes the memory that batches are handed over in; not called when the cache is trusted.
    """

    def __init__(
        self,
        cache: CalibrationCache,
        images: NDArray[np.float32],
        batch_size: int,
        make_stream: Callable[[], DeviceStream],
    ) -> None:
        self.batch_size = batch_size
        self.error: BaseException | None = None
        self._cache = cache
        self._kept = cache.read()
        self._found: bytes | None = None
        self._batches = iter(np.split(images, len(images) // batch_size))
        self._make_stream = make_stream
        self._stream: DeviceStream | None = None
        self._buffer: Any = None

    def next_batch(self) -> int | None:
        """Put the next batch on the device and return its address; None after the last."""
        try:
            batch = next(self._batches, None)
            if batch is None:
                return None
            if self._stream is None:
                self._stream = self._make_stream()
                self._buffer = self._stream.allocate(batch.nbytes)
            self._buffer.host[:] = np.ascontiguousarray(batch).view(np.uint8).reshape(-1)
            self._stream.copy_to_device(self._buffer)
            self._stream.synchronize()
            address: int = self._buffer.device_address
        except BaseException as error:  # must not cross TensorRT
            self.error = error
            return None
        return address

    def kept(self) -> bytes | None:
        return self._kept

    def note(self, content: bytes) -> None:
        self._found = content

    def save(self) -> None:
        """Write what was found. Only after the build has succeeded.

        Raises:
            CalibrationCacheError, EngineBuildError: as `CalibrationCache.write`.
        """
        if self._kept is None and self._found is not None:
            self._cache.write(self._found)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def reraise(self) -> None:
        """Raise what a callback met."""
        if isinstance(self.error, Exception) and not isinstance(self.error, GpsDeniedInferenceError):
            raise EngineBuildError(f"handing the calibration images over failed: {self.error}") from self.error
        if self.error is not None:
            raise self.error


def make_calibrator(module: Any, calibration: Calibration) -> Any:
    """Wrap a calibration for a TensorRT module that has calibrators."""

    class Calibrator(module.IInt8EntropyCalibrator2):
        def __init__(self) -> None:
            module.IInt8EntropyCalibrator2.__init__(self)

        def get_batch_size(self) -> int:
            return calibration.batch_size

        def get_batch(self, names: list[str]) -> list[int] | None:
            address = calibration.next_batch()
            return None if address is None else [address] * len(names)

        def read_calibration_cache(self) -> bytes | None:
            return calibration.kept()

        def write_calibration_cache(self, cache: Any) -> None:
            calibration.note(bytes(cache))

    return Calibrator()


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
