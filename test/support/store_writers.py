"""Writers of an engine store in processes of their own: `python store_writers.py kill|race ROOT COUNT SEED`.

A process of its own, because it forks, which a process with threads should not.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
import time
from pathlib import Path

from small_engines import add_engine

from gps_denied_inference.core.engines import EngineGate, EngineStore, HostTuple

_LARGEST_BYTES = 1 << 20
_LONGEST_LIFE = 8.0
"""Of a writer before it is killed, in times that one engine takes: disks differ by more than ten."""


def write_until_killed(store: EngineStore, generator: random.Random) -> None:
    """Add engines, replace golden outputs, prune and remove, as fast as it goes."""
    for count in itertools.count():
        content = generator.randbytes(generator.randrange(1, _LARGEST_BYTES))
        add_engine(store, content)
        add_engine(store, content, golden=generator.randbytes(1000))
        if count % 3 == 2:
            store.prune(keep=1)
        if count % 5 == 4:
            store.remove(store.manifest().entries[-1])


def require_whole(store: EngineStore) -> int:
    """Take every engine that the manifest names through the gate; returns how many."""
    if not (store.root / "manifest.json").exists():
        return 0
    gate = EngineGate(store, HostTuple())
    entries = store.manifest().entries
    for entry in entries:
        gate.validate(store.path_of(entry)).require()
    return len(entries)


def one_add_s(store: EngineStore) -> float:
    """Measure what an engine takes here and now; the store is empty again afterwards."""
    start_s = time.monotonic()
    add_engine(store, bytes(_LARGEST_BYTES // 2))
    duration_s = time.monotonic() - start_s
    store.remove(store.manifest().entries[-1])
    return duration_s


def kill_writers(store: EngineStore, count: int, seed: int) -> None:
    """Kill a writer at a random moment, look at the store, and again."""
    generator = random.Random(seed)
    longest_life_s = _LONGEST_LIFE * one_add_s(store)
    interrupted = named = 0
    for index in range(count):
        writer = os.fork()
        if writer == 0:
            write_until_killed(store, random.Random(seed * 1000 + index))
        time.sleep(generator.uniform(0.0, longest_life_s))
        os.kill(writer, signal.SIGKILL)
        _, status = os.waitpid(writer, 0)
        assert os.WIFSIGNALED(status), f"the writer ended by itself with {status}"
        named += require_whole(store)
        interrupted += any(store.root.glob(".writing-*"))
    # Else no kill came while something was being written, and nothing was shown.
    assert interrupted > 0 and named > 0, (interrupted, named)
    add_engine(store, b"last")
    assert not any(store.root.glob(".writing-*"))
    store.prune(keep=1)
    assert store.strangers() == () and require_whole(store) == 1


def race(store: EngineStore, count: int) -> None:
    """Two writers add engines at once, while this process reads."""
    start, go = os.pipe()
    writers = []
    for number in range(2):
        writer = os.fork()
        if writer == 0:
            os.close(go)
            os.read(start, 1)  # returns when the parent closes its end
            for index in range(count):
                add_engine(store, f"{number} {index}".encode())
            os._exit(0)
        writers.append(writer)
    os.close(start)
    os.close(go)
    while writers:
        require_whole(store)
        writer, status = os.waitpid(-1, os.WNOHANG)
        if writer:
            assert status == 0, status
            writers.remove(writer)
    assert require_whole(store) == 2 * count
    assert store.strangers() == ()


if __name__ == "__main__":
    action, root, count, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    if action == "kill":
        kill_writers(EngineStore(root), count, seed)
    else:
        race(EngineStore(root), count)
