"""Part (e) on a GPU: a 1080p frame to its descriptor, in one process without DDS."""

from __future__ import annotations

from typing import Any

import numpy as np

from gps_denied_inference.cli.benchmarks.engines import MODEL
from gps_denied_inference.cli.benchmarks.measurement import BenchPlan, Comparison, Contender, PartReport, Role, in_turn
from gps_denied_inference.cli.benchmarks.network_call import BareGraph
from gps_denied_inference.core.architectures import default_registry
from gps_denied_inference.core.assembly import assemble_pipeline
from gps_denied_inference.core.contracts import ImageFrame
from gps_denied_inference.core.optional import require
from gps_denied_inference.core.settings import settings_from_mapping

__all__ = ["measure"]

_HEIGHT, _WIDTH = 1080, 1920
_TARGET = 1.15


def measure(plan: BenchPlan) -> PartReport:
    """Against upload, resize and graph on one stream."""
    torch = require("torch", install="pip install torch==2.13.0", purpose="the benchmark on the GPU")
    image = np.random.default_rng(0).integers(0, 256, (_HEIGHT, _WIDTH, 3), np.uint8)
    frame = ImageFrame(0, "", "rgb8", _HEIGHT, _WIDTH, 3 * _WIDTH, False, image.reshape(-1))
    spec = default_registry().lookup(MODEL).spec.preprocess
    bare = BareGraph.record(plan.device)
    mean, std = (torch.tensor(values, device=plan.device).view(1, 3, 1, 1) for values in (spec.mean, spec.std))
    pinned = torch.empty(image.shape, dtype=torch.uint8, pin_memory=True)
    uploaded = torch.empty(image.shape, dtype=torch.uint8, device=plan.device)

    def prepared(samples: Any) -> Any:
        batch = samples.permute(2, 0, 1).unsqueeze(0).float()
        size = (spec.height, spec.width)
        resized = torch.nn.functional.interpolate(batch, size, mode="bilinear", antialias=True)
        return (resized - mean) / std

    def limit() -> Any:
        with torch.no_grad(), torch.cuda.stream(bare.stream):
            np.copyto(pinned.numpy(), image)
            uploaded.copy_(pinned, non_blocking=True)
            bare.placed.copy_(prepared(uploaded))
            bare.replay()
            bare.back.copy_(bare.output, non_blocking=True)
            bare.stream.synchronize()
            return bare.back.numpy().copy()

    def naive() -> Any:
        samples = torch.from_numpy(image).to(plan.device)
        return bare.module(prepared(samples).half()).float().detach().cpu().numpy().tolist()

    settings = settings_from_mapping(
        {"primary.model": MODEL, "primary.device": plan.device, "primary.precision": "fp16", "allow_ungated": True}
    )
    with assemble_pipeline(settings) as pipeline:
        rows = in_turn(
            (
                Contender(Role.LIMIT, "pinned copy, resize, graph, copy back, on one stream", limit),
                Contender(
                    Role.OURS, "Pipeline.process: upload, resize, graph and copy back", lambda: pipeline.process(frame)
                ),
                Contender(Role.BASELINE, "pageable copy, eager FP16, gradients on, list", naive),
            ),
            plan,
        )
    comparison = Comparison(f"{_WIDTH}x{_HEIGHT} rgb8 frame to descriptor", "ms", rows, _TARGET)
    notes = ("in one process: the transport is measured by the part on the CPU",)
    return PartReport("e", "node", "frame → descriptor on the GPU", (comparison,), notes)
