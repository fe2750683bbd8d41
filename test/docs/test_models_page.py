"""docs/models.md is what `gdi models --markdown` writes of the committed figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gps_denied_inference.cli.model_table import model_page, read_measurements, read_onnx_exports
from gps_denied_inference.core.architectures import ArchitectureRegistry, entries
from gps_denied_inference.core.errors import SettingsError

DOCS = Path(__file__).parents[2] / "docs"
EXPORTS = sorted((DOCS / "measurements").glob("models-*-onnx.json"))
FIGURES = sorted(set((DOCS / "measurements").glob("models-*.json")) - set(EXPORTS))


def ours() -> ArchitectureRegistry:
    registry = ArchitectureRegistry()
    entries.register(registry)
    return registry


def test_page_is_up_to_date() -> None:
    measurements = [read_measurements(path) for path in FIGURES]
    assert (DOCS / "models.md").read_text() == model_page(ours(), measurements, read_onnx_exports(EXPORTS[-1])) + "\n"


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: path.stem)
def test_every_network_is_measured_on_every_computer(path: Path) -> None:
    models = read_measurements(path).models
    assert set(models) == set(ours())
    assert all(figures.keys() == {"parameters", "latency_ms", "memory_mib"} for figures in models.values())
    assert all(value > 0 for figures in models.values() for value in figures.values())


def test_a_cpu_and_a_gpu_are_measured() -> None:
    assert {read_measurements(path).precision for path in FIGURES} == {"FP32", "FP16"}


def test_export_of_every_network_is_measured_and_one_that_fails_is_an_obstacle() -> None:
    exports, registry = read_onnx_exports(EXPORTS[-1]), ours()
    assert set(exports.complaints) == set(registry)
    failing = {name for name, complaints in exports.complaints.items() if complaints["fp32"]}
    assert failing == {name for name in registry if registry.lookup(name).spec.onnx_obstacle}


def test_page_says_which_export_fails_and_why() -> None:
    exports = read_onnx_exports(EXPORTS[-1])
    complaints = dict(exports.complaints)
    complaints |= {"disk": {"fp32": "", "fp16": "too coarse"}, "xfeat": {"fp32": "odd", "fp16": "odd"}}
    del complaints["superpoint"]
    page = model_page(ours(), [], replace(exports, complaints=complaints))
    row_of = {
        line.split("`")[1]: line for line in page.partition("## SHA-256")[0].splitlines() if line.startswith("| `")
    }
    assert "| FP32; FP16: too coarse |" in row_of["disk"]
    assert "| FP32: odd; FP16: odd |" in row_of["xfeat"]
    assert "| not measured |" in row_of["superpoint"]
    assert "| FP32, FP16 |" in row_of["aliked_n16"]


def test_file_of_another_kind_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"measure_onnx\.py"):
        read_onnx_exports(FIGURES[0])
    with pytest.raises(SettingsError, match=r"measure_models\.py"):
        read_measurements(EXPORTS[0])


def test_page_tells_whose_hashes_are_known_and_from_where() -> None:
    page = model_page(ours(), [], read_onnx_exports(EXPORTS[-1])).partition("## SHA-256")[2]
    for name in ours():
        origin = ours().lookup(name).spec.weights
        assert origin is not None
        (row, *others) = [line for line in page.splitlines() if f"`{name}`" in line] or [""]
        assert not others
        if origin.distribution:
            assert not row
        elif origin.sha256:
            assert f"`{origin.sha256}`" in row and all(source in row for source in origin.pinned_by)
        else:
            assert row.startswith("None is known of")
