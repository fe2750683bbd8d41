"""The budget of GPU memory: refusals leave the residents as they are."""

from __future__ import annotations

import pytest

from gps_denied_inference.core.engines.memory_budget import MemoryBudget
from gps_denied_inference.core.errors import OutOfMemoryError


def test_budget_accepts_reservations_up_to_its_limit() -> None:
    budget = MemoryBudget(100)
    budget.reserve("first", 60)
    budget.reserve("second", 40)
    assert budget.snapshot() == {"first": 60, "second": 40}


@pytest.mark.parametrize(("engine_id", "size_bytes"), [("second", 41), ("second", -1), ("first", 1)])
def test_refusal_names_the_engine_and_keeps_the_residents(engine_id: str, size_bytes: int) -> None:
    budget = MemoryBudget(100)
    budget.reserve("first", 60)
    with pytest.raises(OutOfMemoryError, match=engine_id):
        budget.reserve(engine_id, size_bytes)
    assert budget.snapshot() == {"first": 60}


def test_released_share_can_be_reserved_again() -> None:
    budget = MemoryBudget(100)
    budget.reserve("first", 100)
    budget.release("first")
    budget.release("never resident")
    budget.reserve("second", 100)
    assert budget.snapshot() == {"second": 100}
