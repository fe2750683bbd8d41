"""Engines that change on the disk under a running node, and a disk that is full."""

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from bags import write_image_bag
from fault_bench import FaultBench

from gps_denied_inference.core.architectures import default_registry
from gps_denied_inference.core.contracts import PrecisionMode, RuntimeLabel
from gps_denied_inference.core.engines import EngineStore, probe_host
from gps_denied_inference.core.engines.build import BuildRequest, build_engine
from gps_denied_inference.core.health import Level

_GROUP = "Engines and the disk"


@pytest.fixture(scope="module")
def store(folder: Path) -> EngineStore:
    store = EngineStore(folder / "store")
    request = BuildRequest("efficientnet_lite0_grid", RuntimeLabel.PYTORCH_FP16, PrecisionMode.FP32)
    build_engine(request, store, registry=default_registry(), host=probe_host())
    return store


@pytest.fixture(scope="module")
def bench(make_bench: Callable[[str, str], FaultBench], store: EngineStore) -> FaultBench:
    bench = make_bench("/store", _GROUP)
    bench.start_real(f"engine_store:={store.root}", "primary.precision:=fp32", "primary.device:=cpu")
    bench.bring_up()
    return bench


def _delete_engine(store: EngineStore) -> None:
    store.path_of(store.manifest().entries[0]).unlink()


def _replace_engine(store: EngineStore) -> None:
    path = store.path_of(store.manifest().entries[0])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    other = path.with_suffix(".new")
    other.write_bytes(content)
    other.rename(path)


def _cut_manifest(store: EngineStore) -> None:
    path = store.root / "manifest.json"
    path.write_text(path.read_text()[:100])


def _fold_manifest(store: EngineStore) -> None:
    """Nobody can read a folder as a file, root included."""
    path = store.root / "manifest.json"
    path.unlink()
    path.mkdir()


def _remove_store(store: EngineStore) -> None:
    shutil.rmtree(store.root)


def _name_other_engine(store: EngineStore) -> None:
    path = store.root / "manifest.json"
    manifest = json.loads(path.read_text())
    text = json.dumps(manifest).replace(store.manifest().entries[0].sha256, "0" * 64)
    path.write_text(text)


@pytest.mark.parametrize(
    ("what", "break_store", "word"),
    [
        ("the engine file is deleted under the running node", _delete_engine, ""),
        ("the engine file is replaced under the running node", _replace_engine, "SHA-256"),
        ("the manifest is cut off", _cut_manifest, "manifest"),
        ("the manifest names another hash", _name_other_engine, ""),
        ("the manifest cannot be read (a folder is in its place)", _fold_manifest, "manifest"),
        ("the store is gone", _remove_store, "manifest"),
    ],
)
def test_running_engine_outlives_its_file_and_a_damaged_one_is_never_loaded(
    bench: FaultBench,
    store: EngineStore,
    tmp_path: Path,
    what: str,
    break_store: Callable[[EngineStore], None],
    word: str,
) -> None:
    expected = "the running engine works on, also after deactivate and activate; configure refuses: ERROR"
    with bench.fault(what, expected) as fault:
        kept = Path(shutil.copytree(store.root, tmp_path / "kept"))
        bench.works()
        break_store(store)
        bench.works()
        assert bench.change_state("deactivate", "activate")
        bench.works()
        assert bench.change_state("deactivate", "cleanup")
        assert not bench.change_state("configure")
        status = fault.observe("engine", Level.ERROR, word)
        fault.observations[-1] = f"ERROR engine: {status.message.replace(str(bench.folder), 'FOLDER')}"
        assert bench.client.state(bench.name) == "unconfigured"
        shutil.rmtree(store.root, ignore_errors=True)
        shutil.copytree(kept, store.root)
        bench.bring_up()
        bench.works()
        fault.recovered("with a whole store: configure, activate")


def _gdi(*arguments: str, largest_file_bytes: int) -> subprocess.CompletedProcess[str]:
    """Run gdi where no file can grow beyond this size: what a full disk does, as far as a program can tell."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file_bytes, largest_file_bytes))

    command = [sys.executable, "-m", "gps_denied_inference.cli.main", *arguments]
    return subprocess.run(command, preexec_fn=limit, capture_output=True, text=True, timeout=120, check=False)


def test_full_disk_ends_the_building_of_an_engine_and_leaves_the_store_whole(
    bench: FaultBench, store: EngineStore
) -> None:
    before = {path.name: path.read_bytes() for path in store.root.iterdir() if path.is_file()}
    build = ("engine", "build", "efficientnet_lite0_grid", "--runtime", "pytorch_fp16", "--precision", "fp16")
    result = _gdi(*build, "--store", str(store.root), largest_file_bytes=1 << 20)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    line = result.stderr.strip().splitlines()[-1]
    assert "File too large" in line
    assert {path.name: path.read_bytes() for path in store.root.iterdir() if path.is_file()} == before
    bench.works()
    bench.record(
        "the disk is full while an engine is written (`gdi engine build`)",
        "exit status 1 with the cause; the store as it was; a running node works on",
        [line.replace(str(bench.folder), "FOLDER")],
        "with room on the disk: the same command",
    )


def test_full_disk_ends_the_writing_of_a_bag_with_the_cause(bench: FaultBench) -> None:
    bag = write_image_bag(bench.folder / "in", frames=40, side_px=128)
    script = bench.folder / "script.yaml"
    script.write_text("latency_ms: 0.0\n")
    replay = ("replay", str(bag), "--runtime", "fake", "--checkpoint", str(script))
    result = _gdi(*replay, "--output", str(bench.folder / "out"), largest_file_bytes=20_000)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    line = result.stderr.strip().splitlines()[-1]
    assert "File too large" in line
    bench.record(
        "the disk is full while a bag is written (`gdi replay --output`)",
        "exit status 1 with the cause",
        [line.replace(str(bench.folder), "FOLDER")],
        "with room on the disk: the same command",
    )
