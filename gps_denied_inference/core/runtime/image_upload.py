"""Images on their way to the device: one pinned buffer and one device buffer for each size, shared by all engines."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.architectures.install_commands import install_command
from gps_denied_inference.core.optional import require

if TYPE_CHECKING:
    import torch

__all__ = ["ImageUpload"]

_UPLOADS: WeakValueDictionary[tuple[str, tuple[int, ...]], ImageUpload] = WeakValueDictionary()
_LOOK_UP = threading.Lock()


class ImageUpload:
    """Copies images of one size to one device. `of` gives the one that this process has.

    An array that was uploaded last is not uploaded again: engines that work on the same decoded frame share the copy.
    It is known by its identity and kept until the next one, so it must not change while it is in use.

    Attributes:
        tensor: uint8, shape (H, W, C), on the device; its address never changes.
        is_reversed: the channels lie in it in reverse, as in the memory of the array: RGB that was seen in BGR.
        lock: held from `upload` until what reads the tensor is done.
    """

    def __init__(self, device: torch.device, shape: tuple[int, ...]) -> None:
        torch = require("torch", install=install_command("torch"), purpose="the pytorch_fp16 runtime")
        self._host: Any = torch.zeros(shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
        self._host_view: NDArray[np.uint8] = self._host.numpy()
        self._uploaded: NDArray[np.uint8] | None = None
        self.tensor: Any = torch.zeros(shape, dtype=torch.uint8, device=device)
        self.is_reversed = False
        self.lock = threading.Lock()
        self.uploads = 0
        """How many copies were made, for tests and reports."""

    @staticmethod
    def in_use(device: torch.device) -> list[tuple[tuple[int, ...], bool]]:
        """Return shape (H, W, C) and `is_reversed` of the images that engines of this process take on a device now."""
        with _LOOK_UP:
            return [(shape, item.is_reversed) for (name, shape), item in _UPLOADS.items() if name == str(device)]

    @classmethod
    def of(cls, device: torch.device, shape: tuple[int, ...]) -> ImageUpload:
        """Return the upload of this device and image shape (H, W, C)."""
        key = (str(device), tuple(shape))
        with _LOOK_UP:
            upload = _UPLOADS.get(key)
            if upload is None:
                upload = _UPLOADS[key] = cls(device, tuple(shape))
            return upload

    def upload(self, image_hwc: NDArray[np.uint8]) -> None:
        """Queue the copy on the present stream, unless this array is there already. With `lock` held.

        Whoever held the lock before has waited for its stream, so that the buffers are free.
        """
        if image_hwc is self._uploaded:
            return
        self.is_reversed = image_hwc.strides[2] < 0
        # By numpy: torch's threads take half as long for a 1080p frame, and now and then 10 ms (docs/performance.md).
        np.copyto(self._host_view, image_hwc[:, :, ::-1] if self.is_reversed else image_hwc)
        self.tensor.copy_(self._host, non_blocking=True)
        self._uploaded = image_hwc
        self.uploads += 1
