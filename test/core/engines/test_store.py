"""The store shows whole engines only, whoever writes, whenever a writer dies, and whatever its manifest holds."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import re
import resource
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_engines import DETAILS, HOST_NAME, NAME, add_engine, snapshot

from gps_denied_inference.core.atomic_files import file_sha256
from gps_denied_inference.core.contracts import PrecisionMode, RuntimeLabel
from gps_denied_inference.core.engines import EngineGate, EngineStore, HostTuple
from gps_denied_inference.core.engines.build_command import build_advice, build_command
from gps_denied_inference.core.errors import EngineBuildError, EngineManifestError

_SUPPORT = Path(__file__).resolve().parents[2] / "support"
_WISH: dict[str, Any] = {
    "model": "small_model",
    "runtime": RuntimeLabel.ONNX_TRT_EP,
    "precision": PrecisionMode.FP32,
    "host": HostTuple(),
}


@pytest.fixture
def store(tmp_path: Path) -> EngineStore:
    return EngineStore(tmp_path / "store")


def names(store: EngineStore) -> set[str]:
    return {path.name for path in store.root.iterdir()}


def require_whole(store: EngineStore) -> None:
    for entry in store.manifest().entries:
        EngineGate(store, HostTuple()).validate(store.path_of(entry)).require()


# What an engine is when it is there.


def test_engine_lies_under_its_hash_with_sidecars_that_sha256sum_reads(store: EngineStore) -> None:
    path = add_engine(store, b"content", golden=b"golden")
    sha256 = hashlib.sha256(b"content").hexdigest()
    assert path.name == replace(NAME, digest=sha256[:12]).text()
    golden = path.with_name(path.name.replace(".onnx", ".golden.npz"))
    assert names(store) == {
        path.name,
        f"{path.name}.sha256",
        golden.name,
        f"{golden.name}.sha256",
        "manifest.json",
        ".lock",
    }
    (entry,) = store.manifest().entries
    assert (entry.sha256, entry.size_bytes, dict(entry.artefacts)) == (
        sha256,
        7,
        {golden.name: hashlib.sha256(b"golden").hexdigest()},
    )
    assert store.golden_of(entry) == (golden, entry.artefacts[golden.name])
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", f"{path.name}.sha256", f"{golden.name}.sha256"],
        cwd=store.root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_file_and_bytes_give_the_same_engine(store: EngineStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"content")
    first = store.add(source, name=NAME, details=DETAILS)
    assert store.add(b"content", name=NAME, details=DETAILS) == first
    assert store.manifest().entries == (first,)


def test_same_engine_with_other_golden_outputs_takes_its_own_place_as_the_newest(store: EngineStore) -> None:
    path = add_engine(store, b"content", golden=b"old")
    add_engine(store, b"another")
    assert add_engine(store, b"content", golden=b"new") == path
    entries = store.manifest().entries
    assert len(entries) == 2 and entries[-1].file_name == path.name
    require_whole(store)
    assert store.strangers() == ()


def test_details_that_could_not_be_read_back_are_refused_before_anything_changes(store: EngineStore) -> None:
    add_engine(store)
    before = snapshot(store.root)
    with pytest.raises(EngineManifestError, match="weights_sha256"):
        store.add(b"other", name=NAME, details=replace(DETAILS, weights_sha256="unknown"))
    assert snapshot(store.root) == before


def test_source_that_cannot_be_read_is_a_build_error(store: EngineStore, tmp_path: Path) -> None:
    with pytest.raises(EngineBuildError, match="none"):
        store.add(tmp_path / "none", name=NAME, details=DETAILS)


# Atomic.


def test_bytes_are_on_the_disk_before_names_and_names_before_the_manifest(
    store: EngineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_engine(store, b"first")
    events: list[tuple[str, str]] = []
    fsync, rename = os.fsync, Path.replace

    def recorded_fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        events.append(("fsync", "folder" if path == store.root.resolve() else "file"))
        fsync(descriptor)

    def recorded_rename(self: Path, target: Path) -> Path:
        assert self.name.startswith(".writing-") and self.parent == target.parent
        events.append(("rename", target.name))
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(Path, "replace", recorded_rename)
    path = add_engine(store, b"second")
    golden = path.name.replace(".onnx", ".golden.npz")
    files = [path.name, golden, f"{path.name}.sha256", f"{golden}.sha256"]
    assert events == [
        *[("fsync", "file")] * 5,  # the four and the manifest, each under a temporary name
        *(("rename", name) for name in files),
        ("fsync", "folder"),
        ("rename", "manifest.json"),
        ("fsync", "folder"),
    ]


def error_of(write: Callable[[], object]) -> EngineBuildError | None:
    try:
        write()
    except EngineBuildError as error:
        return error
    return None


@pytest.mark.parametrize("golden", [b"golden", b"other"], ids=["new engine", "engine that is replaced"])
def test_full_disk_at_any_point_leaves_whole_engines(
    store: EngineStore, golden: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"first" if golden == b"other" else b"second"
    fsync = os.fsync
    for failing in range(1, 20):
        for path in store.root.glob("*") if store.root.exists() else ():
            path.unlink()
        add_engine(store, b"first")
        before = snapshot(store.root)
        count = 0

        def full(descriptor: int, failing: int = failing) -> None:
            nonlocal count
            count += 1
            if count == failing:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            fsync(descriptor)

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            error = error_of(lambda: add_engine(store, content, golden=golden))
        if error is None:
            break
        assert "No space left" in str(error) and isinstance(error.__cause__, OSError)
        assert not any(name.startswith(".writing-") for name in names(store))
        if failing <= 5:  # files take room; names, which come later, do not
            assert snapshot(store.root) == before
        require_whole(store)
    else:
        pytest.fail("the disk was full for ever")
    assert count >= 7


def test_write_that_the_kernel_stops_leaves_the_store_as_it_was(store: EngineStore) -> None:
    add_engine(store)
    before = snapshot(store.root)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(EngineBuildError, match="make room there") as caught:
            add_engine(store, bytes(3 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert isinstance(caught.value.__cause__, OSError) and caught.value.__cause__.errno == errno.EFBIG
    assert snapshot(store.root) == before


def test_source_that_changes_while_it_is_copied_is_refused(
    store: EngineStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_engine(store)
    before = snapshot(store.root)
    source = tmp_path / "source"
    source.write_bytes(b"before")

    def hash_then_change(path: Path) -> str:
        sha256 = file_sha256(path)
        path.write_bytes(b"after")
        return sha256

    monkeypatch.setattr("gps_denied_inference.core.engines.store.file_sha256", hash_then_change)
    with pytest.raises(EngineBuildError, match="changed while it was copied"):
        store.add(source, name=NAME, details=DETAILS)
    assert snapshot(store.root) == before


def writers(action: str, store: EngineStore, count: int, seed: int) -> None:
    finished = subprocess.run(
        [sys.executable, str(_SUPPORT / "store_writers.py"), action, str(store.root), str(count), str(seed)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(_SUPPORT), *sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, f"seed {seed}: {finished.stderr}"


def test_writer_killed_at_any_moment_leaves_whole_engines(store: EngineStore) -> None:
    writers("kill", store, 20, random.randrange(1_000_000))


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_two_hundred_killed_writers_leave_whole_engines(store: EngineStore) -> None:
    writers("kill", store, 200, random.randrange(1_000_000))


def test_two_writers_at_once_lose_nothing_and_readers_see_whole_engines(store: EngineStore) -> None:
    writers("race", store, 12, 0)


# What cannot be read or written.


def _folder(store: EngineStore) -> None:
    (store.root / "manifest.json").mkdir(parents=True)


def _pipe(store: EngineStore) -> None:
    store.root.mkdir()
    os.mkfifo(store.root / "manifest.json")


def _file_for_a_folder(store: EngineStore) -> None:
    store.root.write_bytes(b"")


def _circle(store: EngineStore) -> None:
    store.root.mkdir()
    (store.root / "manifest.json").symlink_to("manifest.json")


def _forbidden(store: EngineStore) -> None:
    add_engine(store)
    (store.root / "manifest.json").chmod(0)
    if os.access(store.root / "manifest.json", os.R_OK):
        pytest.skip("this user may read everything")


@pytest.mark.parametrize("make", [_folder, _pipe, _file_for_a_folder, _circle, _forbidden])
def test_unreadable_store_is_a_manifest_error(make: Callable[[EngineStore], None], store: EngineStore) -> None:
    make(store)
    for read in (store.manifest, lambda: store.find(**_WISH), lambda: store.prune(1)):
        with pytest.raises(EngineManifestError):
            read()


def test_pipe_is_said_to_be_no_file_before_anything_is_read_from_it(store: EngineStore) -> None:
    _pipe(store)
    with pytest.raises(EngineManifestError, match="not a regular file"):
        store.manifest()


def test_store_that_cannot_be_written_is_a_build_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(EngineBuildError, match="cannot write"):
        add_engine(EngineStore(tmp_path / "file"))


def test_damaged_manifest_is_not_written_over(store: EngineStore) -> None:
    add_engine(store)
    (store.root / "manifest.json").write_bytes(b"{")
    before = snapshot(store.root)
    with pytest.raises(EngineManifestError):
        add_engine(store, b"other")
    assert snapshot(store.root) == before


def test_mistyped_folder_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    store = EngineStore(tmp_path / "mistyped")
    for use in (store.manifest, lambda: store.prune(1)):
        with pytest.raises(EngineManifestError, match="no engine store"):
            use()
    assert not store.root.exists()


# Finding.


def test_newest_engine_that_fits_is_found(store: EngineStore) -> None:
    add_engine(store, b"old")
    newest = add_engine(store, b"new")
    add_engine(store, b"foreign", replace(HOST_NAME, runtime=RuntimeLabel.ONNX_TRT_EP, precision=PrecisionMode.FP32))
    add_engine(store, b"half", replace(NAME, precision=PrecisionMode.FP16))
    add_engine(store, b"other", replace(NAME, model="other_model"))
    assert store.find(**_WISH).file_name == newest.name


def _nothing(_store: EngineStore) -> None:
    pass


def _engines_that_do_not_fit(store: EngineStore) -> None:
    add_engine(store, b"half", replace(NAME, precision=PrecisionMode.FP16))
    add_engine(store, b"foreign", replace(NAME, sms=("87",), platform="jp6.2", toolchain="ortep1.32.0-trt10.3.0"))


@pytest.mark.parametrize("fill", [_nothing, _engines_that_do_not_fit])
def test_missing_engine_is_told_with_the_exact_line_that_builds_it(
    fill: Callable[[EngineStore], None], tmp_path: Path
) -> None:
    store = EngineStore(tmp_path / "my engines")
    fill(store)
    with pytest.raises(EngineManifestError) as caught:
        store.find(**_WISH, build_options=("--provider", "cuda"))
    line = re.search(r"gdi engine build .*", str(caught.value))
    assert line is not None
    assert shlex.split(line.group()) == [
        *("gdi", "engine", "build", "small_model", "--runtime", "onnx_trt_ep", "--precision", "fp32"),
        *("--store", str(store.root), "--provider", "cuda"),
    ]


def test_each_engine_that_does_not_fit_is_told_with_its_reason(store: EngineStore) -> None:
    _engines_that_do_not_fit(store)
    with pytest.raises(EngineManifestError) as caught:
        store.find(**_WISH)
    for reason in (
        "its precision is fp16",
        "built for SM 87, this computer has no GPU",
        "no JetPack",
        "no ONNX Runtime",
    ):
        assert reason in str(caught.value)


def test_build_line_holds_in_any_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    line = build_command("model", RuntimeLabel.TENSORRT, PrecisionMode.FP16, Path("store"))
    assert str(tmp_path / "store") in shlex.split(line)


def test_advice_for_int8_says_what_the_line_needs_besides(tmp_path: Path) -> None:
    advice = build_advice("model", RuntimeLabel.TENSORRT, PrecisionMode.INT8, tmp_path, ("--flavour", "tensorrt"))
    sentence, line = advice.split("gdi engine build", 1)
    assert "Q/DQ" in sentence and "--calibration-images" in sentence
    assert shlex.split(line)[-4:] == ["--flavour", "tensorrt", "--onnx", "model_qdq.onnx"]
    for runtime in (RuntimeLabel.ONNX_TRT_EP, RuntimeLabel.PYTORCH_FP16):
        impossible = build_advice("model", runtime, PrecisionMode.INT8, tmp_path)
        assert "never in int8" in impossible and "gdi engine build" not in impossible


# Removing.


def test_removed_engine_takes_its_own_files_along_and_no_others(store: EngineStore) -> None:
    kept, removed = add_engine(store, b"kept"), add_engine(store, b"removed")
    entry = store.manifest().entry(removed.name)
    assert entry is not None
    store.remove(entry)
    assert [item.file_name for item in store.manifest().entries] == [kept.name]
    assert store.strangers() == ()
    assert not any(removed.stem in name for name in names(store))
    require_whole(store)
    store.remove(entry)
    assert [item.file_name for item in store.manifest().entries] == [kept.name]


def test_golden_outputs_that_two_engines_share_stay_with_the_other(store: EngineStore) -> None:
    # The same bytes under another suffix: one stem, one golden set.
    first, second = (add_engine(store, b"same", replace(NAME, suffix=suffix)) for suffix in (".pt", ".pth"))
    assert first.stem == second.stem
    entry = store.manifest().entry(first.name)
    assert entry is not None
    store.remove(entry)
    require_whole(store)
    assert not first.exists() and store.strangers() == ()


def test_prune_keeps_the_newest_of_each_kind(store: EngineStore) -> None:
    old, new = add_engine(store, b"old"), add_engine(store, b"new")
    half = add_engine(store, b"half", replace(NAME, precision=PrecisionMode.FP16))
    other_host = add_engine(
        store, b"other", replace(NAME, sms=("89",), platform="cuda12.4-x86_64", toolchain="ortep1.32.0-trt10.3.0")
    )
    assert [entry.file_name for entry in store.prune(keep=2)] == []
    assert [entry.file_name for entry in store.prune(keep=1)] == [old.name]
    assert [entry.file_name for entry in store.manifest().entries] == [new.name, half.name, other_host.name]
    assert not old.exists() and new.exists()
    with pytest.raises(EngineBuildError, match="at least 1"):
        store.prune(keep=0)


def test_prune_removes_unknown_files_and_leaves_folders(store: EngineStore) -> None:
    path = add_engine(store)
    (store.root / "unknown.engine").write_bytes(b"?")
    (store.root / ".writing-1-dead").write_bytes(b"half")
    (store.root / "folder").mkdir()
    (store.root / "folder" / "file").write_bytes(b"kept")
    assert store.strangers() == ("folder", "unknown.engine")
    store.prune(keep=1)
    assert store.strangers() == ("folder",) and (store.root / "folder" / "file").exists()
    assert path.exists() and ".writing-1-dead" not in names(store)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that no removal may touch."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "precious").write_bytes(b"precious")
    (folder / "precious.sha256").write_bytes(b"precious")
    return folder


def tamper(store: EngineStore, artefact: str) -> None:
    path = store.root / "manifest.json"
    document = json.loads(path.read_bytes())
    for engine in document["engines"]:
        engine["artefacts"][artefact] = "e" * 64
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    "form", ["../outside/precious", "{outside}/precious", "link/precious", "sub/../../outside/precious"]
)
def test_no_file_outside_the_store_is_deleted_whatever_a_manifest_names(
    form: str, store: EngineStore, outside: Path
) -> None:
    old, _ = add_engine(store, b"old"), add_engine(store, b"new")
    (store.root / "link").symlink_to(outside)
    entry = store.manifest().entry(old.name)
    assert entry is not None
    name = form.format(outside=outside)
    tamper(store, name)
    before = snapshot(outside)
    for use in (lambda: store.prune(1), lambda: store.remove(entry)):
        with pytest.raises(EngineManifestError, match="artefact"):
            use()
    assert snapshot(outside) == before


def test_entry_of_the_caller_names_no_file_to_delete(store: EngineStore, outside: Path) -> None:
    path = add_engine(store)
    (entry,) = store.manifest().entries
    before = snapshot(outside)
    store.remove(replace(entry, artefacts={"../outside/precious": "e" * 64}))
    assert snapshot(outside) == before and not path.exists()


def test_links_are_deleted_and_not_what_they_lead_to(store: EngineStore, outside: Path) -> None:
    old, _ = add_engine(store, b"old"), add_engine(store, b"new")
    golden = old.with_name(old.name.replace(".onnx", ".golden.npz"))
    for path in (old, golden):
        path.unlink()
        path.symlink_to(outside / "precious")
    (store.root / "stranger").symlink_to(outside / "precious")
    (store.root / "folder").symlink_to(outside, target_is_directory=True)
    before = snapshot(outside)
    assert [entry.file_name for entry in store.prune(keep=1)] == [old.name]
    assert snapshot(outside) == before
    assert not any(path.is_symlink() for path in store.root.iterdir())
