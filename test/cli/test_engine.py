"""`gdi engine`, as it is called: exit status, JSON, sentences."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small_engines import add_engine

from gps_denied_inference.cli.engine import build
from gps_denied_inference.cli.main import main
from gps_denied_inference.core.engines import EngineStore, HostTuple
from gps_denied_inference.core.engines.build import BuildRequest
from gps_denied_inference.core.errors import EngineBuildError


def output(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def engine_file(store: Path, suffix: str = ".onnx") -> Path:
    return next(path for path in sorted(store.iterdir()) if path.suffix == suffix)


def test_store_of_two_runtimes_verifies(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engine", "verify", "--store", str(store), "--json"]) == 0
    report = output(capsys)
    assert report["passed"] and [engine["passed"] for engine in report["engines"]] == [True, True]
    assert report["unknown_files"] == []
    assert main(["engine", "verify", "--store", str(store)]) == 0
    assert capsys.readouterr().out.count("ok ") == 2


def damage_engine(store: Path) -> None:
    path = engine_file(store)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def damage_golden(store: Path) -> None:
    engine_file(store, ".npz").write_bytes(b"other")


def remove_sidecar(store: Path) -> None:
    path = engine_file(store)
    path.with_name(path.name + ".sha256").unlink()


def remove_engine(store: Path) -> None:
    engine_file(store).unlink()


def truncate_engine(store: Path) -> None:
    os.truncate(engine_file(store), 1000)


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (damage_engine, "EngineHashMismatchError"),
        (truncate_engine, "EngineHashMismatchError"),
        (remove_engine, "EngineHashMismatchError"),
        (remove_sidecar, "EngineSidecarMissingError"),
        (damage_golden, "EngineManifestError"),
    ],
)
def test_verify_fails_on_one_bad_engine_among_good_ones(
    damage: Any, error: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(store)
    assert main(["engine", "verify", "--store", str(store), "--json"]) == 1
    report = output(capsys)
    bad = [engine for engine in report["engines"] if not engine["passed"]]
    assert not report["passed"] and [engine["error"] for engine in bad] == [error]


def test_file_that_the_manifest_does_not_know_fails_until_pruned(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (store / "stranger.engine").write_bytes(b"?")
    assert main(["engine", "verify", "--store", str(store), "--json"]) == 1
    assert output(capsys)["unknown_files"] == ["stranger.engine"]
    assert main(["engine", "prune", "--store", str(store), "--json"]) == 0
    assert output(capsys) == {"removed": [], "unknown_files_removed": ["stranger.engine"]}
    assert main(["engine", "verify", "--store", str(store)]) == 0


@pytest.mark.parametrize("content", [None, b"", b'{"schema_version": 1, "engines": []}'])
def test_store_without_engines_is_a_failure(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_bytes(content)
    assert main(["engine", "verify", "--store", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("gdi engine: ") and captured.err.count("\n") == 1


def test_signed_store_verifies_with_its_key_only(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, other = tmp_path / "key.pem", tmp_path / "other.pem"
    verify = ["engine", "verify", "--store", str(store), "--require-signature", "--trusted-key"]
    assert main(["engine", "sign", "--store", str(store), "--key", str(key), "--generate", "--json"]) == 0
    public_key = output(capsys)["public_key"]
    assert main([*verify, public_key]) == 0
    capsys.readouterr()
    assert main(["engine", "sign", "--store", str(store), "--key", str(other), "--generate", "--json"]) == 0
    other_public_key = output(capsys)["public_key"]
    assert main([*verify, public_key]) == 1
    assert "signature: " in capsys.readouterr().out
    assert main([*verify, other_public_key]) == 0


def test_trusted_key_without_the_requirement_is_refused(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engine", "verify", "--store", str(store), "--trusted-key", "key.pub"]) == 1
    assert "--require-signature" in capsys.readouterr().err


def test_list_and_inspect_tell_what_the_manifest_says(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engine", "list", "--store", str(store), "--json"]) == 0
    engines = output(capsys)["engines"]
    assert {engine["runtime"] for engine in engines} == {"onnx_trt_ep", "pytorch_fp16"}
    assert len({engine["weights_sha256"] for engine in engines}) == 1
    for engine in engines:
        assert main(["engine", "inspect", str(store / engine["file_name"]), "--json"]) == 0
        inspected = output(capsys)
        assert inspected["passed"] and inspected["sha256"] == engine["sha256"]
    assert main(["engine", "list", "--store", str(store)]) == 0
    assert main(["engine", "inspect", str(engine_file(store))]) == 0
    assert "gate, hash" in capsys.readouterr().out


def test_profiles_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = add_engine(EngineStore(tmp_path))  # with a profile
    assert main(["engine", "inspect", str(path), "--json"]) == 0
    assert output(capsys)["profiles"] == [
        {
            "input_name": "image",
            "min_shape": [1, 3, 32, 32],
            "opt_shape": [2, 3, 32, 32],
            "max_shape": [4, 3, 32, 32],
        }
    ]
    assert main(["engine", "inspect", str(path)]) == 0
    assert "1x3x32x32 to 2x3x32x32 to 4x3x32x32" in capsys.readouterr().out


def test_inspect_of_an_unknown_engine_names_those_that_are_there(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["engine", "inspect", str(store / "none.onnx")]) == 1
    assert engine_file(store).name in capsys.readouterr().err


def test_prune_keeps_one_engine_of_each_kind(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engine", "prune", "--store", str(store), "--keep", "1"]) == 0
    assert "nothing to remove" in capsys.readouterr().out
    assert main(["engine", "prune", "--store", str(store), "--keep", "0"]) == 1
    assert main(["engine", "verify", "--store", str(store)]) == 0


@pytest.mark.parametrize(
    ("runtime", "host", "available", "asked"),
    [
        ("pytorch_fp16", HostTuple(), (), "fp16 cpu"),
        ("onnx_trt_ep", HostTuple(), ("Tensorrt", "CUDA"), "fp32 cpu"),
        ("onnx_trt_ep", HostTuple(sms=("90",)), (), "fp32 cpu"),
        ("onnx_trt_ep", HostTuple(sms=("90",)), ("Tensorrt", "CUDA"), "fp16 cuda"),
        ("onnx_trt_ep", HostTuple(sms=("90",), tensorrt="10.9.0"), ("CUDA",), "fp16 cuda"),
        ("onnx_trt_ep", HostTuple(sms=("90",), tensorrt="10.9.0"), ("Tensorrt", "CUDA"), "fp16 tensorrt"),
        ("tensorrt", HostTuple(sms=("90",)), (), "fp16 cpu"),
    ],
)
def test_build_as_documented_asks_for_what_this_computer_can_fly(
    runtime: str,
    host: HostTuple,
    available: tuple[str, ...],
    asked: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    requests: list[BuildRequest] = []

    def record(request: BuildRequest, *_arguments: Any, **_keywords: Any) -> Any:
        requests.append(request)
        raise EngineBuildError("recorded")

    ort = SimpleNamespace(get_available_providers=lambda: [f"{name}ExecutionProvider" for name in available])
    monkeypatch.setattr(build, "require_onnxruntime", lambda: ort)
    monkeypatch.setattr(build, "probe_host", lambda: host)
    monkeypatch.setattr(build, "build_engine", record)
    assert main(["engine", "build", "xfeat", "--runtime", runtime, "--store", str(tmp_path)]) == 1
    (request,) = requests
    assert f"{request.precision.value} {request.provider}" == asked


def test_failed_build_ends_in_a_sentence_and_changes_nothing(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(path.name for path in store.iterdir())
    build = ["engine", "build", "xfeat", "--runtime", "pytorch_fp16", "--store", str(store)]
    assert main([*build, "--checkpoint", "none.pth"]) == 1
    assert "none.pth" in capsys.readouterr().err
    assert sorted(path.name for path in store.iterdir()) == before
