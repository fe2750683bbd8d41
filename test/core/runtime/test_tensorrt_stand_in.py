"""The stand-in's signatures are those of the real module."""

from __future__ import annotations

import inspect
import re
from types import FunctionType
from typing import Any

import pytest
from tensorrt_stand_in import COMPARED, ONLY_TENSORRT_10, make_tensorrt, make_tensorrt_rtx

trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")

METHODS = [
    (item, name)
    for item in COMPARED
    for name, member in vars(item).items()
    if isinstance(member, FunctionType) and not name.startswith("_")
]
PROPERTIES = [
    (item, name)
    for item in COMPARED
    for name, member in vars(item).items()
    if not isinstance(member, FunctionType) and not name.startswith("_")
]


def real_class(item: type) -> type:
    found: type = getattr(trt, item.__name__.removesuffix("OfRtx"))
    return found


def real_parameters(documentation: str, name: str) -> list[list[str]]:
    """Names of the parameters of each overload, from what pybind11 writes."""
    found = []
    for text in re.findall(rf"^(?:\d+\. )?{name}\((.*)\) -> ", documentation, flags=re.MULTILINE):
        flat = text
        while (shorter := re.sub(r"\[[^\[\]]*\]|<[^<>]*>", "", flat)) != flat:
            flat = shorter
        found.append([part.split(":")[0].split("=")[0].strip() for part in flat.split(",")])
    return found


def test_reading_pybinds_signatures() -> None:
    text = "f(self: a.B, shape: list[tuple[int, int]], flag: X = <X.Y: 0>) -> bool\n\n2. f(self: a.B) -> int\n"
    assert real_parameters(text, "f") == [["self", "shape", "flag"], ["self"]]


@pytest.mark.parametrize(("item", "name"), METHODS, ids=lambda part: getattr(part, "__name__", part))
def test_method_has_the_real_parameters(item: type, name: str) -> None:
    if f"{item.__name__}.{name}" in ONLY_TENSORRT_10:
        assert not hasattr(real_class(item), name), "it is there: compare it"
        return
    real = getattr(real_class(item), name)
    overloads = real_parameters(real.__doc__, name)
    ours = list(inspect.signature(getattr(item, name)).parameters)
    assert any(overload[: len(ours)] == ours for overload in overloads), (ours, overloads)


@pytest.mark.parametrize(("item", "name"), PROPERTIES, ids=lambda part: getattr(part, "__name__", part))
def test_property_is_there(item: type, name: str) -> None:
    assert hasattr(real_class(item), name) is (f"{item.__name__}.{name}" not in ONLY_TENSORRT_10)


@pytest.mark.parametrize(
    "name",
    ["BuilderFlag", "ComputeCapability", "DataType", "LayerType", "MemoryPoolType", "TensorIOMode"],
)
def test_members_of_enumerations_are_there(name: str) -> None:
    stand_in: Any = getattr(make_tensorrt_rtx(), name)
    assert {member.name for member in stand_in} <= set(getattr(trt, name).__members__)


def test_a_dtype_that_numpy_lacks_is_refused_alike() -> None:
    for module in (trt, make_tensorrt()):
        with pytest.raises(TypeError):
            module.nptype(module.DataType.BF16)
        assert module.nptype(module.DataType.HALF).__name__ == "float16"


def test_constructors_take_the_real_parameters() -> None:
    for name in ("Builder", "OnnxParser", "Runtime"):
        real = real_parameters(getattr(trt, name).__init__.__doc__, "__init__")
        assert list(inspect.signature(getattr(make_tensorrt(), name).__init__).parameters) in real


@pytest.mark.parametrize("module", [make_tensorrt("11.0.0"), make_tensorrt_rtx()], ids=["tensorrt 11", "tensorrt_rtx"])
def test_what_the_newer_ones_lack_is_absent(module: Any) -> None:
    for name in ("INT8", "FP16"):
        assert not hasattr(trt.BuilderFlag, name) and not hasattr(module.BuilderFlag, name)
    assert not hasattr(trt, "IInt8EntropyCalibrator2") and not hasattr(module, "IInt8EntropyCalibrator2")
