"""Part (i): embedding the tiles of a map, in one process on one thread."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.cli.benchmarks.engines import MODEL, onnx_engine, store_folder
from gps_denied_inference.cli.benchmarks.measurement import (
    BenchPlan,
    Comparison,
    Contender,
    PartReport,
    Role,
    Row,
    in_turn,
)
from gps_denied_inference.core.assembly import assemble_pipeline
from gps_denied_inference.core.contracts import ImageFrame
from gps_denied_inference.core.optional import require
from gps_denied_inference.core.runtime.onnx_network import SessionThreads, make_session
from gps_denied_inference.core.settings import settings_from_mapping

__all__ = ["measure"]

_TILE_PX = 512


def measure(plan: BenchPlan) -> PartReport:
    """Milliseconds a tile; the tiles a second stand beside them."""
    ort = require("onnxruntime", install="pip install onnxruntime", purpose="the benchmark of map embedding")
    cv2 = require("cv2", install="pip install opencv-python-headless", purpose="the baseline of the benchmark")
    entry = onnx_engine(plan.output)
    session = make_session(entry.path.read_bytes(), [("CPUExecutionProvider", {})], SessionThreads(1))
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    naive_session = ort.InferenceSession(str(entry.path), options, providers=["CPUExecutionProvider"])
    tile = np.random.default_rng(0).integers(0, 256, (_TILE_PX, _TILE_PX, 3), np.uint8)
    values = np.zeros((1, 3, 224, 224), np.float32)
    frame = ImageFrame(0, "", "rgb8", _TILE_PX, _TILE_PX, 3 * _TILE_PX, False, tile.reshape(-1))

    def naive(image: NDArray[np.uint8] = tile) -> Any:
        small = cv2.resize(image, (224, 224)).astype(np.float32)
        batch = ((small - 127.0) / 128.0).transpose(2, 0, 1)[None].astype(np.float32)
        return naive_session.run(None, {"image": batch})[0].tolist()

    settings = settings_from_mapping(
        {
            "engine_store": str(store_folder(plan.output)),
            "primary.runtime": "onnx_trt_ep",
            "primary.model": MODEL,
            "primary.precision": "fp32",
            "primary.device": "cpu",
            "primary.intra_op_threads": 1,
        }
    )
    with assemble_pipeline(settings) as pipeline:
        rows = in_turn(
            (
                Contender(Role.LIMIT, "bare session.run", lambda: session.run(None, {"image": values})),
                Contender(Role.OURS, "Pipeline.process", lambda: pipeline.process(frame)),
                Contender(Role.BASELINE, "OpenCV, float numpy, session, list", naive),
            ),
            plan,
        )
    comparison = Comparison(f"tile of {_TILE_PX}x{_TILE_PX}, one thread", "ms", tuple(map(_with_rate, rows)))
    notes = ("the command-line programs embed with one such process a core",)
    return PartReport("i", "map", "embedding a map", (comparison,), notes)


def _with_rate(row: Row) -> Row:
    facts = {**row.facts, "tiles_per_s": round(1e3 / row.median, 1)}
    return Row(row.role, row.name, row.median, row.noise, row.count, facts)
