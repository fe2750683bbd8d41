"""A report of an invented flight."""

from dataclasses import replace

import cv2
import numpy as np

from gps_denied_inference.core.contracts import StageTimings, ThermalState
from gps_denied_inference.core.evaluation import (
    FlightReport,
    FrameOutcome,
    HealthSample,
    ImagePair,
    MapPicture,
    NodeAccounting,
    NotRefined,
    ReplayAccounting,
    RunFacts,
    RuntimeAgreement,
    ThermalSample,
    percentiles,
    score_refinement,
    score_retrieval,
)

__all__ = ["flight_report"]

JPEG = bytes(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1])
FACTS = RunFacts(
    model="net",
    weights_sha256="ab" * 32,
    space_id="net/4/ab/cd",
    runtime="pytorch_fp16",
    precision="fp32",
    device="cpu",
    provider="torch <2>",
    fallback_reason="no CUDA & no GPU",
    is_gated=False,
    cold_start_s=2.5,
    tile_positions=210,
    tile_headings=8,
    tile_side_m=45.0,
    tile_stride_m=(12.0, 12.3),
    frame_rate_hz=10.0,
    duration_s=2.0,
    track_length_m=80.0,
    heading_octants=8,
    disturbances="haze",
    machine="a machine",
    created="a day",
    version="0.1.0",
)


def flight_report(**changes: object) -> FlightReport:
    generator = np.random.default_rng(0)
    timings = StageTimings(0.1, 1.0, 0.5, 20.0, 0.2, 21.8)
    frames = tuple(
        FrameOutcome(
            index / 10,
            (index, 50.0),
            (index + 3.0, 54.0),
            0.9,
            5.0,
            index != 7,
            timings,
            25.0 + index,
            *(((index + 1.0, 50.0), 1.0, 40) if index % 2 else (None, None, 0, NotRefined.SKIPPED)),
        )
        for index in range(20)
    )
    score = score_retrieval(np.full(20, 5.0), 22.5)
    report = FlightReport(
        facts=FACTS,
        accounting=ReplayAccounting(20, 20, 20, {"stale": 0, "not_finite": 0}, 0, 20),
        frames=frames,
        true_track_m=tuple(frame.true_m for frame in frames),
        score=score,
        random_score=replace(score, recall_at_1=0.2),
        refinement=score_refinement(
            ((frame.error_m, frame.refined_error_m, frame.not_refined) for frame in frames),
            reranked_frames=10,
            changed_frames=2,
            nodes=(NodeAccounting("matches of the features", 20, 20, 10, {"unpaired": 10}, 0),),
        ),
        agreement=RuntimeAgreement(
            "onnx_trt_ep", "pytorch_fp16", 20, 0.9999998, 0.9999999, percentiles([6.0]), percentiles([24.0])
        ),
        latency_ms=percentiles([frame.latency_ms for frame in frames]),
        node_latency_ms=percentiles([frame.timings.total_ms for frame in frames]),
        node_overhead_ms=percentiles([5.0]),
        similarity=generator.random((20, 20)).astype(np.float32),
        health=(HealthSample(-0.5, 0, "active", "", 10.0, 22.0), HealthSample(0.5, 1, "active", "hot <b>", 10.0, 22.0)),
        thermal=(ThermalSample(0.1, ThermalState(cause="no sensor <here>")),),
        map_picture=MapPicture(JPEG, 230.0, 247.0),
        pairs=(ImagePair("t = 0 s", JPEG, JPEG, True),),
        problems=(),
    )
    return replace(report, **changes)  # type: ignore[arg-type]
