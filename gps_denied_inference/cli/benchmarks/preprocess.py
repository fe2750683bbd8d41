"""Part (b): a 1080p image to the network's input, against the quickest known way within one grey level."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.cli.benchmarks.measurement import BenchPlan, Comparison, Contender, PartReport, Role, in_turn
from gps_denied_inference.core.contracts import ColorSpace, PreprocessSpec
from gps_denied_inference.core.imaging import Preprocessor
from gps_denied_inference.core.optional import require
from gps_denied_inference.core.runtime.device_preparation import DevicePreparation
from gps_denied_inference.core.runtime.image_upload import ImageUpload
from gps_denied_inference.core.runtime.pinned_copy import copy_to_pinned

__all__ = ["measure"]

_SIZES = ((224, 224), (322, 322), (480, 640))
_MEAN, _STD = (123.7, 116.3, 103.5), (58.4, 57.1, 57.4)
_TARGET = 1.15
Way = Callable[[], NDArray[np.float32]]


def measure(plan: BenchPlan) -> PartReport:
    """On the CPU; with a GPU, upload and preprocessing there."""
    image = _scene(1080, 1920)
    comparisons = [
        _on_gpu(image, h, w, plan) if plan.device != "cpu" else _on_cpu(image, h, w, plan) for h, w in _SIZES
    ]
    return PartReport("b", "preprocess", "preprocess 1080p rgb8, frame to network input", tuple(comparisons))


def _on_cpu(image: NDArray[np.uint8], height: int, width: int, plan: BenchPlan) -> Comparison:
    cv2 = require("cv2", install="pip install opencv-python-headless", purpose="the baseline of the benchmark")
    preprocessor = Preprocessor(PreprocessSpec(height, width, ColorSpace.RGB, _MEAN, _STD))
    exact = _exact(image, height, width)
    mean, std = np.array(_MEAN, np.float32), np.array(_STD, np.float32)
    ways: tuple[tuple[Role, str, Way], ...] = (
        (Role.LIMIT, "bare torch, uint8 antialiased, preallocated", _bare_torch(image, height, width)),
        (Role.OURS, "Preprocessor.prepare", lambda: preprocessor.prepare(image)[0]),
        (
            Role.BASELINE,
            "cv2.resize, then float numpy",
            lambda: (
                ((cv2.resize(image, (width, height)).astype(np.float32) - mean) / std).transpose(2, 0, 1)[None].copy()
            ),
        ),
        (
            Role.ALTERNATIVE,
            "cv2.resize INTER_AREA, then float numpy",
            lambda: (
                ((cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) - mean) / std)
                .transpose(2, 0, 1)[None]
                .copy()
            ),
        ),
        (Role.ALTERNATIVE, "float torch, antialiased", lambda: _float_torch(image, height, width)),
    )
    scale = std[:, None, None]
    contenders = [
        Contender(role, name, way, facts={"largest_error_of_255": float(np.abs((way()[0] - exact) * scale).max())})
        for role, name, way in ways
    ]
    return Comparison(f"{width}x{height}", "ms", in_turn(contenders, plan), _TARGET)


def _bare_torch(image: NDArray[np.uint8], height: int, width: int) -> Way:
    """The quickest that was found within one grey level: nothing but the kernels, into one buffer."""
    torch = require("torch", install="pip install torch==2.13.0", purpose="the limit of the benchmark")
    batch = torch.from_numpy(image).unsqueeze(0).permute(0, 3, 1, 2)
    out = np.empty((1, 3, height, width), np.float32)
    mean, reciprocal = np.array(_MEAN, np.float32), (1 / np.array(_STD)).astype(np.float32)

    def run() -> NDArray[np.float32]:
        with torch.inference_mode():
            resized = torch.nn.functional.interpolate(
                batch, size=(height, width), mode="bilinear", align_corners=False, antialias=True
            )
        planes = resized[0].permute(1, 2, 0).numpy()
        for channel in range(3):
            np.subtract(np.ascontiguousarray(planes[:, :, channel]), mean[channel], out=out[0, channel])
            np.multiply(out[0, channel], reciprocal[channel], out=out[0, channel])
        return out

    return run


def _float_torch(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float32]:
    torch = require("torch", install="pip install torch==2.13.0", purpose="an alternative of the benchmark")
    with torch.inference_mode():
        batch = torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0).float()
        resized = torch.nn.functional.interpolate(batch, (height, width), mode="bilinear", antialias=True)
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (_MEAN, _STD))
        result: NDArray[np.float32] = ((resized - mean) / std).numpy()
    return result


def _exact(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float32]:
    exact: NDArray[np.float32] = _float_torch(image, height, width)[0]
    return exact


def _on_gpu(image: NDArray[np.uint8], height: int, width: int, plan: BenchPlan) -> Comparison:
    """The input ends on the GPU, as FP16. In flight ours is part of the network's graph, and so has fewer launches."""
    torch = require("torch", install="pip install torch==2.13.0", purpose="the benchmark on the GPU")
    spec = PreprocessSpec(height, width, ColorSpace.RGB, _MEAN, _STD)
    device = torch.device(plan.device)
    preprocessor, upload = Preprocessor(spec), ImageUpload.of(device, image.shape)
    prepare = DevicePreparation(spec, image.shape[0], image.shape[1], device)
    pinned = torch.empty(image.shape, dtype=torch.uint8, pin_memory=True)
    on_device = torch.empty(image.shape, dtype=torch.uint8, device=device)
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (_MEAN, _STD))

    def resized_on_gpu(samples: Any) -> Any:
        batch = samples.permute(2, 0, 1).unsqueeze(0).float()
        smaller = torch.nn.functional.interpolate(batch, (height, width), mode="bilinear", antialias=True)
        return ((smaller - mean) / std).half()

    def limit() -> Any:
        with torch.inference_mode():
            copy_to_pinned(pinned, image)
            on_device.copy_(pinned, non_blocking=True)
            result = resized_on_gpu(on_device)
            torch.cuda.synchronize(device)
            return result

    def ours() -> Any:
        with torch.inference_mode(), upload.lock:
            upload.upload(image.view())  # another array each time, as frames are
            result = prepare(upload.tensor).half()
            torch.cuda.synchronize(device)
            return result

    def on_cpu() -> Any:
        result = torch.from_numpy(preprocessor.prepare(image)[0]).to(device, torch.float16)
        torch.cuda.synchronize(device)
        return result

    def naive() -> Any:
        with torch.inference_mode():
            result = resized_on_gpu(torch.from_numpy(image).to(device))
            torch.cuda.synchronize(device)
            return result

    contenders = (
        Contender(Role.LIMIT, "pinned copy, resized on the GPU", limit),
        Contender(Role.OURS, "ImageUpload, DevicePreparation", ours),
        Contender(Role.ALTERNATIVE, "Preprocessor.prepare on the CPU, then upload", on_cpu),
        Contender(Role.BASELINE, "pageable copy, resized on the GPU", naive),
    )
    return Comparison(f"{width}x{height}, to the GPU", "ms", in_turn(contenders, plan))


def _scene(height: int, width: int) -> NDArray[np.uint8]:
    """Edges and noise: what shows the errors of a resize."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (height // 40, width // 40, 3), np.uint8)
    scene = np.kron(coarse, np.ones((40, 40, 1), np.uint8))[:height, :width]
    noise = random.integers(-30, 31, scene.shape)
    noisy: NDArray[np.uint8] = np.clip(scene.astype(np.int16) + noise, 0, 255).astype(np.uint8)
    return noisy
