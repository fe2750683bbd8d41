"""The gate accepts what was built here, and refuses each damage by its own error, at its own step, without a write."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from small_engines import HOST_NAME, NAME, add_engine, snapshot

from gps_denied_inference.core.atomic_files import file_sha256
from gps_denied_inference.core.contracts import PrecisionMode
from gps_denied_inference.core.engines import EngineGate, EngineStore, GateVerdict, HostTuple
from gps_denied_inference.core.engines import gate as gate_module
from gps_denied_inference.core.errors import (
    EngineError,
    EngineHashMismatchError,
    EngineManifestError,
    EngineSchemaMismatchError,
    EngineSidecarMissingError,
)

_ORIN = HostTuple(sms=("87",), jetpack="6.2", cuda="12.6", tensorrt="10.3.0", onnxruntime="1.32.0", machine="aarch64")
_STEPS = ("schema", "host", "sidecar", "hash", "manifest", "signature")
_CONTENT = bytes(range(256)) * 64


@dataclass
class Bench:
    """A store with two engines for an Orin, and what a case makes of it."""

    store: EngineStore
    path: Path
    other: Path
    outside: Path
    host: HostTuple = _ORIN
    require_signature: bool = False
    trusted_keys: tuple[Path, ...] = ()

    @property
    def sidecar(self) -> Path:
        return self.path.with_name(f"{self.path.name}.sha256")

    @property
    def golden(self) -> Path:
        return self.path.with_name(self.path.name.replace(".engine", ".golden.npz"))

    @property
    def manifest(self) -> Path:
        return self.store.root / "manifest.json"

    def edit_manifest(self, edit: Callable[[dict[str, Any]], object]) -> None:
        document = json.loads(self.manifest.read_bytes())
        edit(document)
        self.manifest.write_text(json.dumps(document))

    def edit_entry(self, **changes: Any) -> None:
        self.edit_manifest(lambda document: document["engines"][0].update(changes))

    def validate(self) -> GateVerdict:
        gate = EngineGate(
            self.store, self.host, require_signature=self.require_signature, trusted_keys=self.trusted_keys
        )
        return gate.validate(self.path)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    store = EngineStore(tmp_path / "store")
    outside = tmp_path / "outside"
    outside.mkdir()
    path, other = (add_engine(store, content, HOST_NAME) for content in (_CONTENT, _CONTENT[::-1]))
    return Bench(store, path, other, outside)


def flip_byte(bench: Bench) -> None:
    content = bytearray(bench.path.read_bytes())
    content[len(content) // 2] ^= 0x10
    bench.path.write_bytes(content)


def truncate(bench: Bench) -> None:
    os.truncate(bench.path, 1000)


def empty(bench: Bench) -> None:
    os.truncate(bench.path, 0)


def append(bench: Bench) -> None:
    bench.path.write_bytes(_CONTENT + b"\n")


def swap_engines(bench: Bench) -> None:
    first, second = bench.path.read_bytes(), bench.other.read_bytes()
    bench.path.write_bytes(second)
    bench.other.write_bytes(first)


def swap_sidecars(bench: Bench) -> None:
    shutil.copy(f"{bench.other}.sha256", bench.sidecar)


def swap_engines_with_sidecars(bench: Bench) -> None:
    swap_engines(bench)
    sha256 = Path(f"{bench.other}.sha256").read_text().split()[0]
    bench.sidecar.write_text(f"{sha256}  {bench.path.name}\n")


def rename(bench: Bench) -> None:
    digest = bench.path.stem.rpartition("__")[2]
    target = bench.path.with_name(bench.path.name.replace(digest, "0" * 12))
    bench.path.rename(target)
    sha256 = bench.sidecar.read_text().split()[0]
    bench.path = target
    bench.sidecar.write_text(f"{sha256}  {target.name}\n")


def rename_precision(bench: Bench) -> None:
    target = bench.path.with_name(bench.path.name.replace("__fp16__", "__fp32__"))
    bench.path.rename(target)
    sha256 = bench.sidecar.read_text().split()[0]
    bench.path = target
    bench.sidecar.write_text(f"{sha256}  {target.name}\n")
    bench.edit_entry(file_name=target.name, artefacts={})


def foreign_name(bench: Bench) -> None:
    bench.path = bench.path.rename(bench.path.with_name("model.engine"))


def folder(bench: Bench) -> None:
    bench.path.unlink()
    bench.path.mkdir()


def pipe(bench: Bench) -> None:
    bench.path.unlink()
    os.mkfifo(bench.path)


def link_outside(bench: Bench) -> None:
    target = bench.outside / bench.path.name
    bench.path.rename(target)
    bench.path.symlink_to(target)


def link_to_nothing(bench: Bench) -> None:
    bench.path.unlink()
    bench.path.symlink_to("nothing")


def link_in_a_circle(bench: Bench) -> None:
    bench.path.unlink()
    bench.path.symlink_to(bench.path.name)


def copy_outside(bench: Bench) -> None:
    for path in (bench.path, bench.sidecar):
        shutil.copy(path, bench.outside)
    bench.path = bench.outside / bench.path.name


def remove_engine(bench: Bench) -> None:
    bench.path.unlink()


def remove_sidecar(bench: Bench) -> None:
    bench.sidecar.unlink()


def pipe_for_a_sidecar(bench: Bench) -> None:
    bench.sidecar.unlink()
    os.mkfifo(bench.sidecar)


def folder_for_a_sidecar(bench: Bench) -> None:
    bench.sidecar.unlink()
    bench.sidecar.mkdir()


def write_sidecar(text: str) -> Callable[[Bench], None]:
    def write(bench: Bench) -> None:
        bench.sidecar.write_text(text.format(sha256="0" * 64, name=bench.path.name))

    return write


def remove_manifest(bench: Bench) -> None:
    bench.manifest.unlink()


def truncate_manifest(bench: Bench) -> None:
    os.truncate(bench.manifest, 100)


def folder_for_a_manifest(bench: Bench) -> None:
    bench.manifest.unlink()
    bench.manifest.mkdir()


def forget_engine(bench: Bench) -> None:
    bench.edit_manifest(lambda document: document["engines"].pop(0))


def other_schema(bench: Bench) -> None:
    bench.edit_manifest(lambda document: document.update(schema_version=2))


def entry(**changes: Any) -> Callable[[Bench], None]:
    return lambda bench: bench.edit_entry(**changes)


def remove_golden(bench: Bench) -> None:
    bench.golden.unlink()


def change_golden(bench: Bench) -> None:
    bench.golden.write_bytes(b"Golden")


def pipe_for_golden(bench: Bench) -> None:
    bench.golden.unlink()
    os.mkfifo(bench.golden)


def on(**changes: Any) -> Callable[[Bench], None]:
    def move(bench: Bench) -> None:
        bench.host = replace(_ORIN, **changes)

    return move


def other_flavour(bench: Bench) -> None:
    bench.path = add_engine(bench.store, b"flavour", replace(HOST_NAME, toolchain="rtx1.7.1.116"))


def other_provider_version(bench: Bench) -> None:
    bench.path = add_engine(bench.store, b"provider", replace(HOST_NAME, toolchain="ortep1.31.0-trt10.3.0"))


def other_processor(bench: Bench) -> None:
    bench.path = add_engine(bench.store, b"processor", replace(HOST_NAME, platform="cuda12.6-x86_64"))


def other_provider_tensorrt(bench: Bench) -> None:
    bench.path = add_engine(bench.store, b"tensorrt", replace(HOST_NAME, toolchain="ortep1.32.0-trt10.9.0"))


def newer_cuda(bench: Bench) -> None:
    bench.path = add_engine(bench.store, b"cuda", replace(HOST_NAME, platform="cuda13.0-aarch64"))


def _keys(bench: Bench) -> tuple[Path, Path]:
    signature = pytest.importorskip(
        "gps_denied_inference.core.engines.signature", reason="cryptography is not installed"
    )
    pytest.importorskip("cryptography", reason="cryptography is not installed")
    private = bench.outside / "trusted.pem"
    bench.require_signature, bench.trusted_keys = True, (signature.generate_key(private),)
    return private, bench.trusted_keys[0]


def unsigned(bench: Bench) -> None:
    _keys(bench)


def foreign_key(bench: Bench) -> None:
    from gps_denied_inference.core.engines.signature import generate_key, sign_manifest

    _keys(bench)
    generate_key(bench.outside / "foreign.pem")
    sign_manifest(bench.store, bench.outside / "foreign.pem")


def changed_after_signing(bench: Bench) -> None:
    from gps_denied_inference.core.engines.signature import sign_manifest

    private, _ = _keys(bench)
    sign_manifest(bench.store, private)
    bench.edit_entry(license="other")


def signed_and_no_key_trusted(bench: Bench) -> None:
    from gps_denied_inference.core.engines.signature import sign_manifest

    private, _ = _keys(bench)
    sign_manifest(bench.store, private)
    bench.trusted_keys = ()


_SCHEMA, _SIDECAR = EngineSchemaMismatchError, EngineSidecarMissingError
_HASH, _MANIFEST = EngineHashMismatchError, EngineManifestError

_CASES: tuple[tuple[Callable[[Bench], object], str, type[EngineError], str], ...] = (
    (flip_byte, "hash", _HASH, "was changed or is incomplete"),
    (truncate, "hash", _HASH, "was changed or is incomplete"),
    (empty, "hash", _HASH, "was changed or is incomplete"),
    (append, "hash", _HASH, "was changed or is incomplete"),
    (swap_engines, "hash", _HASH, "its sidecar says"),
    (swap_sidecars, "hash", _HASH, "does not state the SHA-256 of"),
    (swap_engines_with_sidecars, "hash", _HASH, "its name says"),
    (rename, "hash", _HASH, "its name says"),
    (rename_precision, "manifest", _MANIFEST, "disagree on what it is"),
    (foreign_name, "schema", _SCHEMA, "no engine's file name"),
    (folder, "schema", _SCHEMA, "folder, pipe or device"),
    (pipe, "schema", _SCHEMA, "folder, pipe or device"),
    (link_outside, "schema", _SCHEMA, "outside the engine store"),
    (link_to_nothing, "hash", _HASH, "cannot be read"),
    (link_in_a_circle, "schema", _SCHEMA, "leads to no file"),
    (copy_outside, "schema", _SCHEMA, "outside the engine store"),
    (remove_engine, "hash", _HASH, "cannot be read"),
    (remove_sidecar, "sidecar", _SIDECAR, "cannot be read"),
    (pipe_for_a_sidecar, "sidecar", _SIDECAR, "cannot be read"),
    (folder_for_a_sidecar, "sidecar", _SIDECAR, "cannot be read"),
    (write_sidecar(""), "hash", _HASH, "does not state"),
    (write_sidecar("garbage\n"), "hash", _HASH, "does not state"),
    (write_sidecar("{sha256}  other.engine\n"), "hash", _HASH, "does not state"),
    (write_sidecar("{sha256}  {name}\n{sha256}  {name}\n"), "hash", _HASH, "does not state"),
    (write_sidecar("{sha256}  {name}\n"), "hash", _HASH, "its sidecar says 0000"),
    (remove_manifest, "manifest", _MANIFEST, "no engine store"),
    (truncate_manifest, "manifest", _MANIFEST, "is no manifest"),
    (folder_for_a_manifest, "manifest", _MANIFEST, "cannot read"),
    (forget_engine, "manifest", _MANIFEST, "has no entry for"),
    (other_schema, "manifest", _MANIFEST, "schema_version 2"),
    (entry(sha256="0" * 64), "manifest", _MANIFEST, "the manifest says"),
    (entry(size_bytes=7), "manifest", _MANIFEST, "has 7 bytes"),
    (entry(model="other_model"), "manifest", _MANIFEST, "disagree on what it is"),
    (entry(runtime="onnx_trt_ep"), "manifest", _MANIFEST, "disagree on what it is"),
    (entry(precision="int8"), "manifest", _MANIFEST, "disagree on what it is"),
    (entry(artefacts={"../outside/file": "0" * 64}), "manifest", _MANIFEST, "artefact"),
    (remove_golden, "manifest", _MANIFEST, "cannot be read"),
    (change_golden, "manifest", _MANIFEST, "was changed since the build"),
    (pipe_for_golden, "manifest", _MANIFEST, "cannot be read"),
    (on(sms=("89",)), "host", _SCHEMA, "built for SM 87"),
    (on(sms=()), "host", _SCHEMA, "no GPU"),
    (on(jetpack="6.1"), "host", _SCHEMA, "built for JetPack 6.2"),
    (on(tensorrt="10.7.0"), "host", _SCHEMA, "built by TensorRT 10.3.0"),
    (on(tensorrt="", tensorrt_rtx="10.3.0"), "host", _SCHEMA, "no TensorRT"),
    (other_flavour, "host", _SCHEMA, "TensorRT for RTX"),
    (other_provider_version, "host", _SCHEMA, "ONNX Runtime 1.31.0"),
    (other_provider_tensorrt, "host", _SCHEMA, "built by TensorRT 10.9.0"),
    (other_processor, "host", _SCHEMA, "built for x86_64"),
    (newer_cuda, "host", _SCHEMA, "built for CUDA 13.0"),
    (unsigned, "signature", _MANIFEST, "is not signed"),
    (foreign_key, "signature", _MANIFEST, "is signed by key"),
    (changed_after_signing, "signature", _MANIFEST, "was changed since key"),
    (signed_and_no_key_trusted, "signature", _MANIFEST, "no key is trusted"),
)


def test_untouched_engine_is_accepted_in_order(bench: Bench) -> None:
    verdict = bench.validate()
    assert verdict.is_accepted and [step.name for step in verdict.steps] == list(_STEPS[:-1])
    entry = verdict.require()
    assert (entry.path, entry.sm, entry.jetpack, entry.tensorrt) == (bench.path, "87", "6.2", "trt10.3.0")
    assert entry.precision is PrecisionMode.FP16
    assert dict(entry.extras) == {
        "provider": "cpu",
        "model_name": "small_model",
        "runtime": "tensorrt",
        "weights_sha256": "a" * 64,
    }


@pytest.mark.parametrize(
    ("inflict", "step", "error", "words"), _CASES, ids=[f"{index}-{case[3]}" for index, case in enumerate(_CASES)]
)
def test_damage_is_refused_at_its_step_by_its_error_without_a_write(
    inflict: Callable[[Bench], object], step: str, error: type[EngineError], words: str, bench: Bench
) -> None:
    inflict(bench)
    before = snapshot(bench.store.root)
    verdict = bench.validate()
    assert snapshot(bench.store.root) == before
    first = next(item for item in verdict.steps if not item.passed)
    assert (first.name, type(verdict.error)) == (step, error)
    assert words in first.reason and str(verdict.error) == first.reason
    with pytest.raises(error):
        verdict.require()
    # The order of the steps is the contract's, each at most once, and always the same.
    taken = [item.name for item in verdict.steps]
    assert taken == [name for name in _STEPS if name in taken]
    assert bench.validate().steps == verdict.steps


def test_first_failure_names_the_error_and_later_ones_add_their_reasons(bench: Bench) -> None:
    bench.host = HostTuple()
    flip_byte(bench)
    remove_golden(bench)
    unsigned(bench)
    verdict = bench.validate()
    assert type(verdict.error) is EngineSchemaMismatchError
    failed = {step.name: step.reason for step in verdict.steps if not step.passed}
    assert list(failed) == ["host", "hash", "manifest", "signature"]
    assert all(failed.values())


def test_step_that_could_not_be_taken_did_not_pass(bench: Bench) -> None:
    remove_sidecar(bench)
    steps = {step.name: step for step in bench.validate().steps}
    assert not steps["hash"].passed and "no sidecar to compare with" in steps["hash"].reason


def test_refusal_for_the_host_names_the_line_that_builds_one_here(bench: Bench) -> None:
    bench.host = HostTuple()
    line = f"gdi engine build small_model --runtime tensorrt --precision fp16 --store {bench.store.root}"
    # Without settings to go by, one is built as the engine was.
    assert str(bench.validate().error).endswith(f"{line} --provider cpu")
    remove_manifest(bench)
    assert str(bench.validate().error).endswith(line)
    gate = EngineGate(bench.store, bench.host, build_options=("--flavour", "tensorrt"))
    assert str(gate.validate(bench.path).error).endswith(f"{line} --flavour tensorrt")


def test_each_file_is_hashed_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    # What the gate costs is the hash of what it reads: of a large engine, a second for each time.
    hashed: list[Path] = []

    def record(path: Path) -> str:
        hashed.append(path)
        return file_sha256(path)

    monkeypatch.setattr(gate_module, "file_sha256", record)
    assert bench.validate().is_accepted
    assert sorted(hashed) == sorted((bench.path, bench.golden))


def test_two_engines_of_a_store_are_judged_apart(bench: Bench) -> None:
    flip_byte(bench)
    assert not bench.validate().is_accepted
    bench.path = bench.other
    assert bench.validate().is_accepted


def test_portable_engine_is_accepted_on_any_computer(tmp_path: Path) -> None:
    store = EngineStore(tmp_path / "store")
    path = add_engine(store, name=NAME)
    for host in (HostTuple(), _ORIN):
        assert EngineGate(store, host).validate(path).is_accepted


def test_folder_that_cannot_be_written_is_judged_alike(bench: Bench) -> None:
    for path in (*bench.store.root.iterdir(), bench.store.root):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = snapshot(bench.store.root)
    try:
        assert bench.validate().is_accepted
        assert snapshot(bench.store.root) == before
    finally:
        bench.store.root.chmod(0o755)


def test_any_changed_byte_of_any_file_is_refused(bench: Bench) -> None:
    generator = random.Random(time.monotonic_ns())
    for path in (bench.path, bench.sidecar, bench.golden):
        whole = path.read_bytes()
        for _ in range(20):
            content = bytearray(whole)
            position = generator.randrange(len(content))
            content[position] ^= 1 << generator.randrange(8)
            path.write_bytes(content)
            assert not bench.validate().is_accepted, f"{path.name}, byte {position}"
        path.write_bytes(whole)
    assert bench.validate().is_accepted
