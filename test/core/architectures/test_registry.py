from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from gps_denied_inference.core.architectures import (
    ArchitectureRegistry,
    base_name,
    default_registry,
    register_architecture,
    sized_name,
)
from gps_denied_inference.core.architectures.entries import EFFICIENTNET_LITE0_GRID, XFEAT
from gps_denied_inference.core.errors import (
    DuplicateArchitectureError,
    RegistryError,
    RuntimeNotAvailableError,
    UnknownArchitectureError,
)

SPEC = EFFICIENTNET_LITE0_GRID


@pytest.fixture
def registry() -> ArchitectureRegistry:
    return ArchitectureRegistry()


def test_default_registry_has_our_networks_and_is_one_object() -> None:
    assert {"efficientnet_lite0_grid", "xfeat"} <= set(default_registry())
    assert default_registry() is default_registry()


def test_default_registry_needs_no_torch() -> None:
    program = (
        "import sys; from gps_denied_inference.core.architectures import default_registry;"
        "registry = default_registry(); [registry.lookup(name).spec for name in registry];"
        "sys.exit('torch' in sys.modules or 'kornia' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_module_level_registration_goes_to_the_default_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default_registry(), "_entries", {})
    register_architecture("registered_in_test", dict, spec=SPEC)
    assert default_registry().lookup("registered_in_test").spec is SPEC


def test_same_registration_again_changes_nothing(registry: ArchitectureRegistry) -> None:
    first = registry.register("net", "package.module:Net", spec=SPEC, converter=dict)
    assert registry.register("net", "package.module:Net", spec=replace(SPEC), converter=dict) is first
    assert list(registry) == ["net"]


@pytest.mark.parametrize(
    ("factory", "spec", "converter"),
    [("package.module:Other", SPEC, None), ("package.module:Net", XFEAT, None), ("package.module:Net", SPEC, dict)],
    ids=["factory", "spec", "converter"],
)
def test_other_registration_of_a_taken_name_raises_and_keeps_the_first(
    registry: ArchitectureRegistry, factory: str, spec: Any, converter: Any
) -> None:
    first = registry.register("net", "package.module:Net", spec=SPEC)
    with pytest.raises(DuplicateArchitectureError, match="net"):
        registry.register("net", factory, spec=spec, converter=converter)
    assert registry.lookup("net") is first


@pytest.mark.parametrize("name", ["", "Net", "net-1", "net 1", "nét", "net\n"])
def test_malformed_name_is_refused(registry: ArchitectureRegistry, name: str) -> None:
    with pytest.raises(RegistryError, match="lower-case"):
        registry.register(name, dict, spec=SPEC)


@pytest.mark.parametrize("place", ["", "module", "module:", ":attribute"])
def test_malformed_place_is_refused(registry: ArchitectureRegistry, place: str) -> None:
    with pytest.raises(RegistryError, match="module:attribute"):
        registry.register("net", place, spec=SPEC)


def test_look_up_miss_names_near_matches(registry: ArchitectureRegistry) -> None:
    for name in ("xfeat", "dinov2_vits14", "superpoint"):
        registry.register(name, dict, spec=SPEC)
    with pytest.raises(UnknownArchitectureError, match=r"did you mean xfeat\?.*dinov2_vits14, superpoint, xfeat"):
        registry.lookup("x_feat")


def test_factory_is_resolved_only_when_built(registry: ArchitectureRegistry) -> None:
    entry = registry.register("net", "no_such_package_anywhere.networks:Net", spec=SPEC)
    with pytest.raises(RuntimeNotAvailableError, match=r"no_such_package_anywhere.*pip install"):
        entry.build()
    misspelt = registry.register("other", "collections:NoSuchNetwork", spec=SPEC)
    with pytest.raises(RegistryError, match="NoSuchNetwork"):
        misspelt.build()


def test_converter_may_be_named_or_absent(registry: ArchitectureRegistry) -> None:
    state: dict[str, Any] = {"b": 1, "a": 2}
    named = registry.register("named", dict, spec=SPEC, converter="collections:OrderedDict")
    plain = registry.register("plain", dict, spec=SPEC)
    assert named.convert(state) == plain.convert(state) == state
    assert plain.convert(state) is not state


def _point(name: str, place: str) -> EntryPoint:
    return EntryPoint(name, place, "gps_denied_inference.architectures")


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    (tmp_path / "plugin_networks.py").write_text(
        "from gps_denied_inference.core.architectures.entries import XFEAT\n"
        "def register(registry):\n"
        "    registry.register('plugin_net', 'plugin_networks:Net', spec=XFEAT)\n"
        "def register_publicly(registry):\n"
        "    import gps_denied_inference.core.architectures as architectures\n"
        "    architectures.register_architecture('public_net', 'plugin_networks:Net', spec=XFEAT)\n"
        "def register_badly(registry):\n"
        "    raise ZeroDivisionError('plugin fell over')\n"
        "not_callable = 5\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def install(*points: EntryPoint) -> None:
        monkeypatch.setattr(
            "gps_denied_inference.core.architectures.registry.entry_points",
            lambda *, group: [point for point in points if point.group == group],
        )

    return install


def test_plugins_register_through_entry_points(registry: ArchitectureRegistry, plugins: Callable[..., None]) -> None:
    plugins(_point("acme", "plugin_networks:register"))
    registry.load_entry_points()
    assert "plugin_net" in registry


def test_plugin_may_call_the_public_function_while_it_is_loaded(
    plugins: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins(_point("acme", "plugin_networks:register_publicly"), _point("other", "plugin_networks:register"))
    monkeypatch.setattr("gps_denied_inference.core.architectures.default._registry", None)
    assert {"public_net", "plugin_net", "xfeat"} <= set(default_registry())


@pytest.mark.parametrize(
    "place",
    [
        "plugin_networks:register_badly",
        "plugin_networks:missing",
        "no_such_plugin:register",
        "plugin_networks:not_callable",
    ],
)
def test_broken_plugin_is_logged_and_told_to_who_misses_its_network(
    registry: ArchitectureRegistry, plugins: Callable[..., None], place: str, caplog: pytest.LogCaptureFixture
) -> None:
    plugins(_point("a_broken", place), _point("b_good", "plugin_networks:register"))
    registry.load_entry_points()
    assert list(registry) == ["plugin_net"], "the plugin after the broken one is loaded"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    with pytest.raises(UnknownArchitectureError, match="a_broken"):
        registry.lookup("acme_net")


def test_plugin_cannot_take_the_name_of_another(registry: ArchitectureRegistry, plugins: Callable[..., None]) -> None:
    ours = registry.register("plugin_net", dict, spec=SPEC)
    plugins(_point("thief", "plugin_networks:register"))
    registry.load_entry_points()
    assert registry.lookup("plugin_net") is ours


def test_modules_of_the_settings_register(registry: ArchitectureRegistry, plugins: Callable[..., None]) -> None:
    registry.load_modules(["plugin_networks", "plugin_networks"])
    assert list(registry) == ["plugin_net"]


@pytest.mark.parametrize("module", ["no_such_module_anywhere", "collections"])
def test_module_without_registration_is_an_error_that_names_it(registry: ArchitectureRegistry, module: str) -> None:
    with pytest.raises(RegistryError, match=rf"'{module}'.*register\(registry\)") as caught:
        registry.load_modules([module])
    assert caught.value.__cause__ is not None


def test_network_that_takes_other_sizes_is_found_at_any_of_them() -> None:
    registry = default_registry()
    small = registry.lookup("xfeat_288x384")
    spec, own = small.spec, registry.lookup("xfeat").spec
    assert small.name == "xfeat_288x384"
    assert (spec.preprocess.height, spec.preprocess.width) == (288, 384)
    assert spec.inputs[0].shape == (1, 3, 288, 384)
    assert spec.preprocess.sha256 != own.preprocess.sha256
    assert (spec.weights, spec.max_keypoints, spec.license) == (own.weights, own.max_keypoints, own.license)
    assert "xfeat_288x384" not in list(registry)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("xfeat_100x384", "multiples of 32"),
        ("xfeat_0000x0000", "multiples of 32"),
        ("superpoint_480x640", "no other size than its own"),
        ("xfeet_288x384", "no architecture is named"),
    ],
)
def test_size_that_a_network_does_not_take_is_refused(name: str, sentence: str) -> None:
    with pytest.raises(UnknownArchitectureError, match=sentence):
        default_registry().lookup(name)


def test_names_with_a_size_are_made_and_taken_apart() -> None:
    assert sized_name("xfeat", 288, 384) == sized_name("xfeat_480x640", 288, 384) == "xfeat_288x384"
    assert base_name("xfeat_288x384") == base_name("xfeat") == "xfeat"
