"""Launch files of place recognition, matcher, refinement and overlay: read as text, since launch may be absent."""

import ast
from pathlib import Path

import pytest

from gps_denied_inference.core.settings import SettingField
from gps_denied_inference.ros.debug_overlay_node import DEBUG_OVERLAY_FIELDS
from gps_denied_inference.ros.matcher_parameters import MATCHER_ENGINE_FIELDS, MATCHER_FIELDS
from gps_denied_inference.ros.place_recognition_node import PLACE_RECOGNITION_FIELDS
from gps_denied_inference.ros.refinement_parameters import REFINEMENT_ENGINE_FIELDS, REFINEMENT_FIELDS

_ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("name", "fields", "engine_fields"),
    [
        ("place_recognition", PLACE_RECOGNITION_FIELDS, ()),
        ("debug_overlay", DEBUG_OVERLAY_FIELDS, ()),
        ("matcher", MATCHER_FIELDS, MATCHER_ENGINE_FIELDS),
        ("refinement", REFINEMENT_FIELDS, REFINEMENT_ENGINE_FIELDS),
    ],
)
def test_launch_file_starts_its_node_with_parameters_that_it_has(
    name: str, fields: tuple[SettingField, ...], engine_fields: tuple[SettingField, ...]
) -> None:
    path = _ROOT / "launch" / f"{name}.launch.py"
    tree = ast.parse(path.read_text(), filename=str(path))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    by_name = [(call.func.id, call) for call in calls if isinstance(call.func, ast.Name)]
    (node,) = (call for function, call in by_name if function == "LifecycleNode")
    keywords = {keyword.arg: keyword.value for keyword in node.keywords}
    assert ast.literal_eval(keywords["executable"]) == f"{name}_node"
    assert "autostart" not in keywords
    arguments = {}
    for function, call in by_name:
        if function == "DeclareLaunchArgument":
            described = {keyword.arg: keyword.value for keyword in call.keywords}
            assert str(ast.literal_eval(described["description"])).endswith(".")
            arguments[ast.literal_eval(call.args[0])] = ast.literal_eval(described["default_value"])
    (overrides,) = (
        node.value for node in ast.walk(tree) if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict)
    )
    known = {item.name: item.default for item in fields} | {
        f"primary.{item.name}": item.default for item in engine_fields
    }
    for argument, target in zip(overrides.keys, overrides.values, strict=True):
        assert argument is not None and isinstance(target, ast.Tuple)
        parameter, kind = target.elts
        assert isinstance(kind, ast.Name)
        assert arguments[ast.literal_eval(argument)] == ""
        assert type(known[ast.literal_eval(parameter)]).__name__ == kind.id
    assert (_ROOT / "config" / f"{name}.yaml").is_file()
