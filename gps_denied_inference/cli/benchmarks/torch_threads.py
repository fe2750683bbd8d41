"""One thread for torch, where a second core is not always free."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gps_denied_inference.core.optional import require

__all__ = ["one_torch_thread"]


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Within the block: two threads that wait for each other on a busy computer measure the computer."""
    torch = require("torch", install="pip install torch==2.13.0", purpose="the limits of the benchmark")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
