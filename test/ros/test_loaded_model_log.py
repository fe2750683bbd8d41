"""The log says of every engine that was loaded how faithful it is, and what keeps it from a flight."""

from __future__ import annotations

import math
from dataclasses import replace

from model_identities import model_identity

from gps_denied_inference.core.engines import FidelityReport
from gps_denied_inference.ros.loaded_model_log import log_loaded_model


class Logger:
    def __init__(self) -> None:
        self.infos: list[str] = []
        self.warnings: list[str] = []

    def info(self, text: str) -> None:
        self.infos.append(text)

    def warning(self, text: str) -> None:
        self.warnings.append(text)


def test_engine_fit_to_fly_is_told_with_its_fidelity() -> None:
    logger = Logger()
    fidelity = FidelityReport("cosine of matching scores", 0.991, 0.995, 0.9, 4)
    log_loaded_model(logger, replace(model_identity(), is_gated=True, fidelity=fidelity), "matcher")
    loaded, faithful = logger.infos
    assert loaded.startswith("matcher: efficientnet_lite0_grid (fake, fp32 on cpu), space ")
    assert "cosine of matching scores min 0.991000" in faithful and "over 4 golden pairs" in faithful
    assert not logger.warnings


def test_fallback_and_missing_gate_are_warnings() -> None:
    logger = Logger()
    model = model_identity()
    configuration = replace(model.configuration, fallback_reason="no GPU")
    fidelity = FidelityReport("descriptor cosine", 0.99, 0.99, math.nan, 8)
    log_loaded_model(
        logger, replace(model, configuration=configuration, gate_complaint="no sidecar", fidelity=fidelity), "primary"
    )
    assert "no GPU" in logger.warnings[0] and "no sidecar" in logger.warnings[1]
    assert logger.infos[1].endswith("over 8 golden images")
