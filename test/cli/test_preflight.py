"""`gdi preflight` and `gdi doctor`, as they are called."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from model_identities import model_identity

from gps_denied_inference.cli import doctor, runtime_probe
from gps_denied_inference.cli.checks import Level
from gps_denied_inference.cli.main import main
from gps_denied_inference.cli.parameter_file import read_parameter_file
from gps_denied_inference.cli.preflight_checks import (
    check_clock,
    check_fidelity,
    check_gate,
    check_latency,
    check_memory,
    check_placement,
    check_thermal,
)
from gps_denied_inference.cli.ros_checks import check_discovery, check_shared_memory
from gps_denied_inference.core.contracts import RuntimeLabel, ThermalState
from gps_denied_inference.core.engines import EngineStore, HostTuple, probe_host
from gps_denied_inference.core.engines.signature import generate_key
from gps_denied_inference.core.index import TileIndex, save_tile_index
from gps_denied_inference.core.settings import settings_from_mapping

_CONFIG = Path(__file__).resolve().parents[2] / "config" / "inference.yaml"


def report_of(capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], dict[str, str]]:
    report = json.loads(capsys.readouterr().out)
    return report, {check["name"]: check["level"] for check in report["checks"]}


def preflight(store: Path, *more: str) -> list[str]:
    engine = ["--runtime", "onnx_trt_ep", "--precision", "fp32", "--device", "cpu", "--frames", "5"]
    # Generous: no test fails for a slow machine.
    return ["preflight", "--store", str(store), "--json", *engine, "--budget-ms", "60000", *more]


def test_good_engine_is_fit(built_store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(preflight(built_store)) == 0
    report, levels = report_of(capsys)
    assert {levels[name] for name in ("gate", "fidelity", "placement", "latency", "memory", "clock")} == {"ok"}
    assert levels["thermal"] in ("ok", "warn")
    assert report["is_gated"] and 0 < report["latency_ms"]["p50"] <= report["latency_ms"]["p99"]


@pytest.mark.skipif(bool(probe_host().sms), reason="this computer has a GPU, for which other engines are built")
def test_engine_that_is_built_here_by_default_flies_here_with_leave_to_fall_back(
    built_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # As typed: neither precision nor device is given, and the settings' defaults are fp16 on cuda:0.
    options = ["--runtime", "onnx_trt_ep", "--allow-cpu-fallback", "--frames", "2", "--budget-ms", "60000", "--json"]
    assert main(["preflight", "--store", str(built_store), *options]) == 0
    report, levels = report_of(capsys)
    assert levels["placement"] == "warn" and "fail" not in levels.values()
    assert "fp32 on cpu" in str(report["checks"]) and "the store has none of fp16" in str(report["checks"])


def test_too_slow_engine_fails(built_store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(preflight(built_store, "--budget-ms", "0.001")) == 1
    _, levels = report_of(capsys)
    assert [name for name, level in levels.items() if level == "fail"] == ["latency"]


def test_damaged_engine_is_refused_with_the_name_of_the_error(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = next(store.glob("*.onnx"))
    path.write_bytes(path.read_bytes()[:-1])
    assert main(preflight(store)) == 1
    report, levels = report_of(capsys)
    assert report["refused_by"] == "EngineHashMismatchError" and levels["load"] == "fail"


def write_parameters(folder: Path, **parameters: object) -> Path:
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
    return path


def test_engine_that_the_gate_refused_is_not_for_flight_even_where_the_node_would_load_it(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    next(store.glob("*.onnx.sha256")).unlink()
    parameters = write_parameters(tmp_path, allow_ungated=True)
    assert main(preflight(store, "--params", str(parameters))) == 1
    report, levels = report_of(capsys)
    assert not report["is_gated"]
    # It loads, it is faithful and quick: the gate alone keeps it on the ground.
    assert [name for name, level in levels.items() if level == "fail"] == ["gate"]


def test_index_and_clock_are_looked_at_also_when_the_engine_is_refused(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    next(store.glob("*.onnx")).write_bytes(b"")
    index = write_index(tmp_path / "index", "some space")
    for path, level in ((index, "warn"), (tmp_path / "none", "fail")):
        assert main(preflight(store, "--index", str(path))) == 1
        _, levels = report_of(capsys)
        assert (levels["load"], levels["index"], levels["clock"]) == ("fail", level, "ok")
    (store / "manifest.json").unlink()
    assert main(preflight(store)) == 1
    assert report_of(capsys)[1]["clock"] == "warn"  # nothing says when anything was built


def test_every_engine_of_the_parameters_is_loaded_beside_the_others_within_one_budget(
    built_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = {"precision": "fp32", "device": "cuda:0"}
    engines = {"primary": {"runtime": "onnx_trt_ep", **common}, "second": {"runtime": "pytorch_fp16", **common}}
    needs = [entry.memory_bytes for entry in EngineStore(built_store).manifest().entries]
    arguments = ["preflight", "--frames", "2", "--budget-ms", "60000", "--json", "--params"]
    for budget, status in ((sum(needs), 0), (sum(needs) - 1, 1)):
        parameters = write_parameters(
            tmp_path,
            engine_store=str(built_store),
            allow_cpu_fallback=True,
            gpu_memory_budget_bytes=budget,
            engines=list(engines),
            **engines,
        )
        assert main([*arguments, str(parameters)]) == status
        report, levels = report_of(capsys)
        first, second = report["engines"]
        assert (first["engine"], first["runtime"], levels["primary gate"]) == ("primary", "onnx_trt_ep", "ok")
        if status == 0:
            assert (second["runtime"], levels["second gate"], levels["second latency"]) == ("pytorch_fp16", "ok", "ok")
        else:
            assert (second["refused_by"], levels["second load"]) == ("OutOfMemoryError", "fail")


@pytest.mark.parametrize("model", ["lighterglue_xfeat", "efficient_loftr"])
def test_engine_that_matches_is_loaded_as_the_matcher_node_does(
    model: str, built_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "script.yaml"
    script.write_text("latency_ms: 0.0\n")
    parameters = write_parameters(
        tmp_path,
        engine_store=str(built_store),
        allow_ungated=True,
        primary={"runtime": "fake", "model": model, "checkpoint": str(script), "device": "cpu"},
    )
    assert main(["preflight", "--frames", "2", "--budget-ms", "60000", "--json", "--params", str(parameters)]) == 1
    report, levels = report_of(capsys)
    assert report["model"] == model and report["latency_ms"]["p50"] > 0
    # A script is no engine for flight; whatever is measured of one is.
    assert levels["gate"] == "fail" and levels["latency"] == "ok"
    assert "warm pairs" in str(report["checks"])


def test_shipped_parameters_of_the_refinement_node_are_those_of_a_network_of_two_images(
    built_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "script.yaml"
    script.write_text("latency_ms: 0.0\n")
    text = _CONFIG.with_name("refinement.yaml").read_text()
    for name, value in (
        ("engine_store", f'"{built_store}"'),
        ("allow_ungated", "true"),
        ("runtime", '"fake"'),
        ("checkpoint", f'"{script}"'),
    ):
        text, changed = re.subn(rf"(?m)^( +{name}:) .*$", rf"\1 {value}", text)
        assert changed == 1, name
    parameters = tmp_path / "refinement.yaml"
    parameters.write_text(text)
    main(["preflight", "--frames", "2", "--budget-ms", "60000", "--json", "--params", str(parameters)])
    report, levels = report_of(capsys)
    assert (report["model"], levels["latency"]) == ("efficient_loftr", "ok")
    assert "warm pairs" in str(report["checks"])


def test_fidelity_that_nobody_measured_fails_and_a_fallback_warns() -> None:
    model = model_identity()
    assert check_gate(replace(model, is_gated=False, gate_complaint="")).level is Level.FAIL
    assert check_fidelity(replace(model, fidelity=None)).level is Level.FAIL
    asked = replace(model.configuration, fallback_reason="")
    assert check_placement(replace(model, configuration=asked)).level is Level.OK
    fell_back = replace(model.configuration, fallback_reason="no GPU")
    assert check_placement(replace(model, configuration=fell_back)).level is Level.WARN


def test_missing_engine_is_refused_with_the_command_that_builds_it(
    built_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(preflight(built_store, "--model", "xfeat")) == 1
    report, _ = report_of(capsys)
    assert "gdi engine build xfeat --runtime onnx_trt_ep" in report["checks"][0]["text"]


def test_engines_of_the_ladder_are_loaded_and_timed(
    built_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ladder = tmp_path / "ladder.yaml"
    ladder.write_text(
        "rungs:\n  - name: full\n  - {name: torch, runtime: pytorch_fp16}\n  - {name: slow, max_rate_hz: 2}\n"
    )
    more = ("--ladder", str(ladder), "--allow-other-space", "--allow-cpu-fallback")
    assert main(preflight(built_store, *more)) == 0
    report, levels = report_of(capsys)
    text = next(check["text"] for check in report["checks"] if check["name"] == "ladder")
    assert levels["ladder"] == "ok"
    assert "'full', 'torch', 'slow' with 2 engines" in text and "torch" in text.split(";")[1] and "p99" in text

    assert main(preflight(built_store, *more, "--budget-ms", "0.001")) == 1
    assert report_of(capsys)[1]["ladder"] == "fail"

    ladder.write_text("rungs:\n  - name: full\n  - {name: other, model: xfeat}\n")
    assert main(preflight(built_store, *more)) == 1
    report, levels = report_of(capsys)
    assert [name for name, level in levels.items() if level == "fail"] == ["ladder"]
    assert "gdi engine build xfeat" in str(report["checks"])


def write_index(folder: Path, space_id: str, dimension: int = 448) -> Path:
    descriptors = np.random.default_rng(1).normal(size=(4, dimension)).astype(np.float32)
    save_tile_index(TileIndex(space_id, descriptors, np.zeros((4, 2)), np.zeros(4)), folder)
    return folder


def test_index_must_live_in_the_space_of_the_engine(
    built_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(preflight(built_store)) == 0
    space_id = report_of(capsys)[0]["space_id"]
    cases = {
        write_index(tmp_path / "right", space_id): "ok",
        write_index(tmp_path / "space", "other"): "fail",
        write_index(tmp_path / "dimension", space_id, 64): "fail",
        tmp_path / "none": "fail",
    }
    for path, level in cases.items():
        assert main(preflight(built_store, "--index", str(path))) == (level == "fail")
        assert report_of(capsys)[1]["index"] == level


def test_parameter_file_of_the_node_gives_the_settings(
    built_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parameters = tmp_path / "params.yaml"
    engine = "primary: {runtime: onnx_trt_ep, precision: fp32, device: cpu}"
    parameters.write_text(
        f"/**:\n  ros__parameters:\n    engine_store: {built_store}\n    camera_id: c\n    {engine}\n"
    )
    assert main(["preflight", "--params", str(parameters), "--frames", "3", "--budget-ms", "60000"]) == 0
    assert "ok    gate" in capsys.readouterr().out


def test_vehicles_parameters_want_a_signed_store_and_no_fallback(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (node,) = read_parameter_file(_CONFIG.with_name("vehicle.yaml")).nodes
    settings = settings_from_mapping(node.settings)
    assert settings.require_signature and settings.trusted_keys and settings.engine_store is not None
    assert not settings.allow_ungated and not settings.allow_cpu_fallback
    sign = ["engine", "sign", "--store", str(store), "--key", str(tmp_path / "key"), "--generate", "--json"]
    arguments = [*preflight(store), "--params", str(_CONFIG.with_name("vehicle.yaml"))]
    arguments += ["--trusted-key", str(tmp_path / "key.pub")]
    generate_key(tmp_path / "other")
    (tmp_path / "other.pub").rename(tmp_path / "key.pub")
    assert main(arguments) == 1
    assert report_of(capsys)[0]["refused_by"] == "EngineManifestError"
    assert main(sign) == 0
    capsys.readouterr()
    assert main(arguments) == 0
    assert report_of(capsys)[1]["gate"] == "ok"


def test_preflight_without_a_store_says_what_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preflight"]) == 1
    assert "--store" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("state", "level"),
    [
        (ThermalState(cause="no source"), Level.WARN),
        (ThermalState(cpu_temperature_c=50.0, is_telemetry_available=True, source="sysfs"), Level.OK),
        (ThermalState(thermal_throttle_active=True, is_telemetry_available=True, cause="over-current"), Level.FAIL),
    ],
)
def test_throttling_fails_and_unknown_warns(state: ThermalState, level: Level) -> None:
    assert check_thermal(lambda: state).level is level


@pytest.mark.parametrize(
    ("built_at", "wall_elapsed_s", "level"),
    [
        ("2026-01-01T00:00:00Z", 5.0, Level.OK),
        ("2027-01-01T00:00:00Z", 5.0, Level.FAIL),
        ("2026-01-01T00:00:00Z", 65.0, Level.FAIL),
        ("2026-01-01T00:00:00Z", -20.0, Level.FAIL),
        ("", 5.0, Level.WARN),
    ],
)
def test_clock_must_be_steady_and_after_the_build(built_at: str, wall_elapsed_s: float, level: Level) -> None:
    now_s = 1_790_000_000.0  # 2026-09-21
    assert check_clock(built_at, now_s, wall_elapsed_s, 5.0).level is level


@pytest.mark.parametrize(
    ("needed", "budget", "free", "level"),
    [
        (100, 1000, 2**30, Level.OK),
        (1001, 1000, 2**30, Level.FAIL),
        (100, 1000, 2**20, Level.FAIL),
        (100, 1000, None, Level.WARN),
        (0, 1000, 2**30, Level.OK),
    ],
)
def test_memory_must_suffice_for_engine_and_rest(needed: int, budget: int, free: int | None, level: Level) -> None:
    assert check_memory(needed, budget, free, "cpu").level is level


def test_latency_that_is_no_number_fails() -> None:
    assert check_latency([math.nan, 1.0], 400.0).level is Level.FAIL


def test_doctor_tells_which_runtimes_work(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    report, levels = report_of(capsys)
    assert {"pytorch_fp16", "onnx_trt_ep"} <= set(report["usable_runtimes"])
    for name in ("Python", "package", "GPU", "ROS", "DDS and QoS", "shared memory", "thermal", "weights xfeat"):
        assert name in levels
    assert levels["runtime pytorch_fp16"] in ("ok", "warn")


def test_doctor_fails_where_no_runtime_works(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("PYTORCH_FP16", "TENSORRT", "ONNX_TRT_EP"):
        monkeypatch.setenv(f"BUILD_{name}_RUNTIME", "OFF")
    assert main(["doctor"]) == 1
    assert "BUILD_ONNX_TRT_EP_RUNTIME is OFF" in capsys.readouterr().out


@pytest.mark.parametrize(("sms", "is_usable", "words"), [((), False, "finds no GPU"), (("87",), True, "capability 87")])
def test_doctor_tells_a_tensorrt_that_can_only_compile_from_one_that_runs(
    sms: tuple[str, ...], is_usable: bool, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_probe, "create_runtime", lambda *_arguments, **_keywords: None)
    monkeypatch.setattr(runtime_probe, "load_binding", lambda: SimpleNamespace(title="TensorRT 10.3.0"))
    probe = runtime_probe.probe_runtime(RuntimeLabel.TENSORRT, HostTuple(sms=sms))
    assert (probe.is_usable, probe.is_full) == (is_usable, is_usable)
    assert "TensorRT 10.3.0" in probe.text and words in probe.text


@pytest.mark.parametrize(
    ("started", "is_full", "words"),
    [
        (("CUDA", "CPU"), True, "runs CUDAExecutionProvider, CPUExecutionProvider; TensorrtExecutionProvider of this"),
        (("CPU",), False, "TensorrtExecutionProvider, CUDAExecutionProvider of this build cannot start"),
    ],
)
def test_doctor_believes_a_session_and_not_the_list_of_providers(
    started: tuple[str, ...], is_full: bool, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{name}ExecutionProvider" for name in ("Tensorrt", "CUDA", "CPU")]
    ort = SimpleNamespace(__version__="9.9", get_available_providers=lambda: names)
    session = SimpleNamespace(
        get_providers=lambda: [f"{name}ExecutionProvider" for name in started], run=lambda *_arguments: None
    )
    monkeypatch.setattr(runtime_probe, "require_onnxruntime", lambda: ort)
    monkeypatch.setattr(runtime_probe, "make_session", lambda *_arguments: session)
    probe = runtime_probe.probe_runtime(RuntimeLabel.ONNX_TRT_EP, HostTuple(sms=("90",)))
    assert probe.is_usable and probe.is_full is is_full and words in probe.text


def test_doctor_names_the_gpu_and_the_optional_packages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "probe_host", lambda: HostTuple(sms=("90",), cuda="13.0"))
    monkeypatch.setattr(doctor, "gpu_names", lambda: ("NVIDIA H200",))
    monkeypatch.setattr(doctor, "_OPTIONAL_PACKAGES", (("a", ("no-such-package",), "it lacks"), ("b", ("numpy",), "")))
    assert main(["doctor", "--json"]) == 0
    report, levels = report_of(capsys)
    (gpu,) = [check["text"] for check in report["checks"] if check["name"] == "GPU"]
    assert gpu == "NVIDIA H200, compute capability 90, CUDA 13.0"
    assert (levels["package a"], levels["package b"]) == ("warn", "ok")


def test_doctor_sees_a_missing_profile_and_missing_shared_memory(tmp_path: Path) -> None:
    missing = {"FASTDDS_DEFAULT_PROFILES_FILE": str(tmp_path / "none.xml")}
    assert check_discovery(missing).level is Level.FAIL
    (tmp_path / "profile.xml").write_text("<profiles/>")
    assert check_discovery({"FASTDDS_DEFAULT_PROFILES_FILE": str(tmp_path / "profile.xml")}).level is Level.OK
    assert check_discovery({}).level is Level.WARN
    assert check_shared_memory(tmp_path / "none").level is Level.WARN
