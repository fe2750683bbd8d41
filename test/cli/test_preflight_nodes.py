"""`gdi preflight` over the nodes of one parameter file, and over their ladders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from gps_denied_inference.cli.main import main

# Generous: no test fails for a slow machine.
_FRAMES = ("--frames", "2", "--budget-ms", "60000", "--json")
_ENGINE = {"runtime": "onnx_trt_ep", "precision": "fp32", "device": "cpu"}


def preflight(
    capsys: pytest.CaptureFixture[str], folder: Path, nodes: dict[str, Any], *more: str, status: int = 0
) -> tuple[dict[str, Any], dict[str, str]]:
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump({node: {"ros__parameters": values} for node, values in nodes.items()}))
    assert main(["preflight", "--params", str(path), *_FRAMES, *more]) == status
    report = json.loads(capsys.readouterr().out)
    return report, {check["name"]: check["level"] for check in report["checks"]}


def text_of(report: dict[str, Any], name: str) -> str:
    (text,) = (check["text"] for check in report["checks"] if check["name"] == name)
    return str(text)


def matcher(folder: Path) -> dict[str, Any]:
    script = folder / "script.yaml"
    script.write_text("latency_ms: 0.0\n")
    return {
        "allow_ungated": True,
        "primary": {"runtime": "fake", "model": "lighterglue_xfeat", "checkpoint": str(script), "device": "cpu"},
    }


def test_nodes_with_engines_of_equal_names_are_kept_apart(
    built_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = {
        "/**": {"engine_store": str(built_store)},
        "inference_node": {"primary": _ENGINE},
        "matcher_node": matcher(tmp_path),
        "camera": {"fps": 30},
    }
    report, levels = preflight(capsys, tmp_path, nodes, status=1)
    first, second = report["engines"]
    assert (first["node"], first["runtime"], first["is_gated"]) == ("inference_node", "onnx_trt_ep", True)
    assert (second["node"], second["runtime"], second["model"]) == ("matcher_node", "fake", "lighterglue_xfeat")
    # That the matcher may run ungated does not reach the other node, nor does the other's gate reach it.
    assert (levels["inference_node gate"], levels["matcher_node gate"]) == ("ok", "fail")
    assert "camera" in text_of(report, "other nodes")

    report, levels = preflight(capsys, tmp_path, nodes, "--node", "inference_node")
    assert levels["gate"] == "ok" and len(report["engines"]) == 1


def test_option_of_one_engine_asks_whose(built_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = {"a": {"engine_store": str(built_store), "primary": _ENGINE}, "b": matcher(tmp_path)}
    preflight(capsys, tmp_path, nodes, "--node", "a", "--model", "efficientnet_lite0_grid")
    for more in (("--model", "efficientnet_lite0_grid"), ("--ladder", "none.yaml")):
        assert main(["preflight", "--params", str(tmp_path / "params.yaml"), *more]) == 1
        error = capsys.readouterr().err
        assert "--node" in error and more[0] in error and "a, b" in error


def with_ladder(store: Path, ladder: Path, **more: Any) -> dict[str, Any]:
    engine = {**_ENGINE, "degradation_ladder": str(ladder)}
    return {"/**": {"engine_store": str(store), "allow_cpu_fallback": True, "primary": engine, **more}}


def test_ladder_of_the_parameter_file_is_loaded_and_timed(
    built_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ladder = tmp_path / "ladder.yaml"
    ladder.write_text("rungs:\n  - name: full\n  - {name: torch, runtime: pytorch_fp16}\n")
    nodes = with_ladder(built_store, ladder)
    report, levels = preflight(capsys, tmp_path, nodes)
    assert levels["ladder"] == "ok"
    assert "'full', 'torch' with 2 engines" in text_of(report, "ladder") and "p99" in text_of(report, "ladder")
    # --ladder goes before what the file says.
    other = tmp_path / "other.yaml"
    report, levels = preflight(capsys, tmp_path, nodes, "--ladder", str(other), status=1)
    assert levels["ladder"] == "fail" and str(other) in text_of(report, "ladder")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "readable YAML file"),
        ("rungs:\n  - name: full\n  - {name: odd, topk: 5}\n", "top_k"),
        ("rungs:\n  - name: full\n  - {name: other, model: xfeet}\n", "xfeat"),
        ("rungs:\n  - name: full\n  - {name: other, model: xfeat}\n", "gdi engine build xfeat"),
    ],
    ids=["missing", "schema", "unregistered", "unprepared"],
)
@pytest.mark.parametrize("is_top_refused", [False, True], ids=["engine", "no engine"])
def test_ladder_that_the_node_would_refuse_fails(
    content: str | None,
    words: str,
    is_top_refused: bool,
    built_store: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ladder = tmp_path / "ladder.yaml"
    if content is not None:
        ladder.write_text(content)
    more = ("--engine", "none.onnx") if is_top_refused else ()
    report, levels = preflight(capsys, tmp_path, with_ladder(built_store, ladder), *more, status=1)
    assert levels["ladder"] == "fail" and words in text_of(report, "ladder")
    assert [name for name, level in levels.items() if level == "fail"] == ["load"] * is_top_refused + ["ladder"]


def test_rungs_are_known_to_be_prepared_also_where_the_normal_engine_is_refused(
    built_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ladder = tmp_path / "ladder.yaml"
    ladder.write_text("rungs:\n  - name: full\n  - {name: torch, runtime: pytorch_fp16}\n")
    nodes = with_ladder(built_store, ladder)
    report, levels = preflight(capsys, tmp_path, nodes, "--engine", "none.onnx", status=1)
    assert (levels["load"], levels["ladder"]) == ("fail", "warn")
    assert "is prepared" in text_of(report, "ladder")


def test_rung_of_another_space_needs_the_leave_that_the_node_needs(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build = ["engine", "build", "efficientnet_lite0_grid_192x192", "--store", str(store), "--runtime", "pytorch_fp16"]
    assert main([*build, "--precision", "fp32"]) == 0
    capsys.readouterr()
    ladder = tmp_path / "ladder.yaml"
    rung = "{name: small, runtime: pytorch_fp16, precision: fp32, input_height: 192, input_width: 192}"
    ladder.write_text(f"rungs:\n  - name: full\n  - {rung}\n")
    report, levels = preflight(capsys, tmp_path, with_ladder(store, ladder), status=1)
    assert levels["ladder"] == "fail" and "degradation_allow_other_space" in text_of(report, "ladder")
    _, levels = preflight(capsys, tmp_path, with_ladder(store, ladder, degradation_allow_other_space=True))
    assert levels["ladder"] == "ok"


def test_each_engine_has_its_own_ladder_and_a_matcher_has_none(
    built_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ladder = tmp_path / "ladder.yaml"
    ladder.write_text("rungs:\n  - name: full\n  - {name: slow, max_rate_hz: 2}\n")
    nodes = with_ladder(built_store, ladder, engines=["primary", "second"], second=_ENGINE)
    _, levels = preflight(capsys, tmp_path, nodes)
    assert levels["primary ladder"] == "ok" and "second ladder" not in levels

    nodes = {"/**": {"engine_store": str(built_store), **matcher(tmp_path)}}
    nodes["/**"]["primary"]["degradation_ladder"] = str(ladder)
    report, levels = preflight(capsys, tmp_path, nodes, status=1)
    assert levels["ladder"] == "fail" and "have no ladder" in text_of(report, "ladder")
