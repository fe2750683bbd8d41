"""The ladder's file: read as written, and refused with the field, the value and what is allowed."""

from pathlib import Path

import pytest

from gps_denied_inference.core.contracts import PrecisionMode, RuntimeLabel
from gps_denied_inference.core.errors import SettingsError
from gps_denied_inference.core.governor import Ladder, Rung, read_ladder
from gps_denied_inference.core.settings import EngineSettings

EXAMPLE = Path(__file__).resolve().parents[3] / "config" / "degradation_ladder_example.yaml"


def _read(tmp_path: Path, text: str) -> Ladder:
    path = tmp_path / "ladder.yaml"
    path.write_text(text)
    return read_ladder(path)


def test_shipped_example_can_be_read_and_shares_one_engine() -> None:
    ladder = read_ladder(EXAMPLE)
    assert len(ladder.rungs) == 4
    assert all(rung.is_of_the_same_engine for rung in ladder.rungs)
    rates = [rung.max_rate_hz for rung in ladder.rungs]
    assert rates == [None, None, 5.0, 2.0]


def test_every_key_is_read(tmp_path: Path) -> None:
    ladder = _read(
        tmp_path,
        "rungs:\n- name: full\n- {name: least, top_k: 64, max_rate_hz: 2, model: xfeat, runtime: onnx_trt_ep, "
        "precision: fp32, device: cpu, engine_file: a.onnx, checkpoint: /tmp/a.pt, input_height: 96, "
        "input_width: 128}\n",
    )
    assert ladder.rungs[1] == Rung(
        "least",
        64,
        2.0,
        96,
        128,
        "xfeat",
        RuntimeLabel.ONNX_TRT_EP,
        PrecisionMode.FP32,
        "cpu",
        "a.onnx",
        Path("/tmp/a.pt"),
    )
    assert (
        ladder.rungs[1]
        .summary()
        .startswith("top_k 64, max_rate_hz 2, input_height 96, input_width 128, model xfeat, runtime onnx_trt_ep")
    )


@pytest.mark.parametrize(
    ("rung", "field", "allowed"),
    [
        ("{top_k: 5}", "rungs[1]", "'name'"),
        ("{name: a, topk: 5}", "rungs[1]", "top_k"),
        ("{name: a}", "rungs[1]", "at least one of top_k"),
        ("{name: full, top_k: 5}", "rungs", "names that differ"),
        ("{name: 5, top_k: 5}", "rungs[1].name", "a text"),
        ("{name: a, top_k: 0}", "rungs[1].top_k", "1 to 65536"),
        ("{name: a, top_k: 1.5}", "rungs[1].top_k", "whole number"),
        ("{name: a, top_k: true}", "rungs[1].top_k", "whole number"),
        ("{name: a, input_height: 288}", "rungs[1].input_height", "both"),
        ("{name: a, input_height: 288, input_width: 7}", "rungs[1].input_width", "32 to 4096"),
        ("{name: a, max_rate_hz: 0}", "rungs[1].max_rate_hz", "0.01 to 1000"),
        ("{name: a, max_rate_hz: .nan}", "rungs[1].max_rate_hz", "0.01 to 1000"),
        ("{name: a, max_rate_hz: fast}", "rungs[1].max_rate_hz", "above 0"),
        ("{name: a, runtime: caffe}", "rungs[1].runtime", "'onnx_trt_ep'"),
        ("{name: a, precision: fp8}", "rungs[1].precision", "'int8'"),
        ("{name: a, device: gpu}", "rungs[1].device", "'cuda:N'"),
        ("{name: a, model: 7}", "rungs[1].model", "registered architecture"),
        ("{name: a, engine_file: ../a.onnx}", "rungs[1].engine_file", "without a folder"),
        ("{name: a, checkpoint: []}", "rungs[1].checkpoint", "path of a checkpoint"),
    ],
)
def test_wrong_rung_is_refused_with_its_field(tmp_path: Path, rung: str, field: str, allowed: str) -> None:
    with pytest.raises(SettingsError) as caught:
        _read(tmp_path, f"rungs:\n- name: full\n- {rung}\n")
    assert caught.value.field == field
    assert allowed in caught.value.allowed


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("[", "degradation_ladder"),
        ("", "degradation_ladder"),
        ("rungs: []\nspeed: 3", "degradation_ladder"),
        ("rungs: 3", "rungs"),
        ("rungs: []", "rungs"),
        ("rungs: [{name: full}]", "rungs"),
        ("rungs: [{name: full, top_k: 3}, {name: a, top_k: 2}]", "rungs[0]"),
    ],
)
def test_wrong_file_is_refused(tmp_path: Path, text: str, field: str) -> None:
    with pytest.raises(SettingsError) as caught:
        _read(tmp_path, text)
    assert caught.value.field == field


def test_missing_file_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.yaml"):
        read_ladder(tmp_path / "nowhere.yaml")


def test_rung_with_another_network_takes_that_network_s_own_files() -> None:
    engine = EngineSettings(engine_file="a.onnx", checkpoint=Path("a.pt"), top_k=100)
    changed = Rung("light", model="xfeat", top_k=10).applied_to(engine)
    assert (changed.model, changed.engine_file, changed.checkpoint) == ("xfeat", "", None)
    assert Rung("fewer", top_k=10).applied_to(engine) == engine


def test_rung_of_another_size_is_the_network_s_name_at_that_size_with_the_same_checkpoint() -> None:
    engine = EngineSettings(model="xfeat", engine_file="a.onnx", checkpoint=Path("a.pt"))
    rung = Rung("smaller", input_height=288, input_width=384)
    changed = rung.applied_to(engine)
    assert (changed.model, changed.engine_file, changed.checkpoint) == ("xfeat_288x384", "", Path("a.pt"))
    assert not rung.is_of_the_same_engine
