"""The meter counts what is held at once, once, and lets go of what torch lets go of."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
from gps_denied_inference.core.engines.activation_memory import ActivationMeter  # noqa: E402 - with torch

_SIZE = 1000
_BYTES = 4 * _SIZE


def test_chain_of_operators_holds_two_tensors_at_once() -> None:
    values = torch.zeros(_SIZE)
    meter = ActivationMeter()
    with meter.watching():
        for _ in range(10):
            values = values + 1.0
    assert meter.peak_bytes == 2 * _BYTES


def test_tensors_that_are_kept_add_up() -> None:
    values = torch.zeros(_SIZE)
    meter = ActivationMeter()
    with meter.watching():
        kept = [values + float(number) for number in range(10)]
    assert meter.peak_bytes == len(kept) * _BYTES


def test_views_changes_in_place_and_inputs_take_no_more() -> None:
    values = torch.zeros(_SIZE)
    meter = ActivationMeter()
    with meter.watching(), torch.inference_mode():
        made = values * 2.0
        views = [made.view(10, 100), made[:10], made.view(100, 10).t()]
        made.add_(1.0)
        values.mul_(3.0)
    assert len(views) == 3 and meter.peak_bytes == _BYTES


def test_network_holds_what_its_largest_layers_take_and_not_its_weights() -> None:
    network = torch.nn.Sequential(
        torch.nn.Linear(_SIZE, 10), torch.nn.Linear(10, 2 * _SIZE), torch.nn.ReLU(), torch.nn.Linear(2 * _SIZE, 1)
    ).eval()
    image, meter = torch.zeros(1, _SIZE), ActivationMeter()
    with meter.watching(), torch.inference_mode():
        network(image)
    assert 4 * _BYTES <= meter.peak_bytes < 5 * _BYTES


def test_largest_of_several_passes_counts() -> None:
    meter = ActivationMeter()
    for size in (10, _SIZE, 100):
        with meter.watching():
            torch.zeros(size).sum()
    assert _BYTES <= meter.peak_bytes < _BYTES + 100
