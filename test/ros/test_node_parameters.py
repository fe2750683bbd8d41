"""Each parameter set to another value, and its effect observed. A parameter without a check here fails."""

import inspect
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import yaml
from ament_index_python.packages import get_package_share_directory
from bond_stand_in import with_bondpy
from local_node import local_node
from node_harness import Client, NodeLauncher, image_message, wait_for
from node_parameters import REAL_ENGINE, fake_parameters
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from small_engines import HOST_NAME, add_engine
from std_msgs.msg import String

import gps_denied_inference.msg as messages
from gps_denied_inference.core.architectures import default_registry
from gps_denied_inference.core.contracts import PrecisionMode, RuntimeLabel
from gps_denied_inference.core.engines import EngineStore, probe_host
from gps_denied_inference.core.engines.build import BuildRequest, build_engine
from gps_denied_inference.core.engines.signature import generate_key, sign_manifest
from gps_denied_inference.core.health import MemoryMonitor, MemoryReading
from gps_denied_inference.core.interface import stamp_ns_from_message
from gps_denied_inference.core.settings import ENGINE_FIELDS, GENERAL_FIELDS, SettingField
from gps_denied_inference.ros.inference_node import InferenceNode
from gps_denied_inference.ros.parameters import NODE_ENGINE_FIELDS, NODE_FIELDS
from gps_denied_inference.ros.qos import LATCHED

_PIXELS = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
_FIELDS: dict[str, SettingField] = {
    **{item.name: item for item in (*GENERAL_FIELDS, *NODE_FIELDS)},
    **{f"primary.{item.name}": item for item in (*ENGINE_FIELDS, *NODE_ENGINE_FIELDS)},
}


class Bench:
    """A node under test and its client."""

    def __init__(self, client: Client, launcher: NodeLauncher, folder: Path, built: Path) -> None:
        self.client = client
        self.folder = folder
        self._launcher = launcher
        self._built = built

    def start(self, *parameters: str, script: str = "latency_ms: 1.0", **options: Any) -> Any:
        return self._launcher.start(*fake_parameters(self.folder, script), *parameters, **options)

    def start_real(self, *parameters: str, **options: Any) -> Any:
        return self._launcher.start(*parameters, **options)

    def store(
        self,
        runtime: RuntimeLabel = RuntimeLabel.PYTORCH_FP16,
        *,
        model: str = "efficientnet_lite0_grid",
        precision: PrecisionMode = PrecisionMode.FP32,
    ) -> EngineStore:
        """Return a store of its own with an engine that was really built, once for all checks."""
        built = self._built / f"{model}-{runtime.value}-{precision.value}"
        if not built.exists():
            request = BuildRequest(model, runtime, precision)
            build_engine(request, EngineStore(built), registry=default_registry(), host=probe_host())
        return EngineStore(Path(shutil.copytree(built, self.folder / "store")))

    def gated(self, store: EngineStore) -> tuple[str, ...]:
        return (f"engine_store:={store.root}", "primary.precision:=fp32", "primary.device:=cpu")

    def info(self) -> Any:
        infos = self.client.model_info()
        return wait_for(lambda: infos and infos[-1], "model_info")

    def answer(self, publisher: Any, received: list[Any], stamp_ns: int = 1) -> Any:
        count = len(received)
        publisher.publish(image_message(_PIXELS, "rgb8", stamp_ns))
        wait_for(lambda: len(received) > count, "an answer")
        return received[-1]

    def stamps_s(self, received: list[Any], count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        wait_for(lambda: len(received) >= count, f"{count} messages")
        return np.diff([stamp_ns_from_message(message) / 1e9 for message in received])


def check_engines(bench: Bench) -> None:
    path = bench.folder / "other.yaml"
    path.write_text("latency_ms: 1.0\n")
    bench.start_real("engines:=['front']", "front.runtime:=fake", f"front.checkpoint:={path}", "allow_ungated:=true")
    bench.client.bring_up()
    assert bench.info().engine == "front"


def check_weights_dir(bench: Bench) -> None:
    (bench.folder / "efficientnet_lite0_grid.pt").write_bytes(b"not a checkpoint")
    node = bench.start_real(*REAL_ENGINE, f"weights_dir:={bench.folder}")
    assert not bench.client.change_state("configure")
    assert str(bench.folder / "efficientnet_lite0_grid.pt") in node.log


def check_engine_store(bench: Bench) -> None:
    store = bench.store()
    bench.start_real(*bench.gated(store))
    bench.client.bring_up()
    info = bench.info()
    assert info.is_gated and not info.gate_complaint
    assert info.engine_file == store.manifest().entries[0].file_name
    assert info.fidelity_count == 8 and info.fidelity_min_cosine > 0.999


def check_require_signature(bench: Bench) -> None:
    node = bench.start_real(*bench.gated(bench.store()), "require_signature:=true")
    assert not bench.client.change_state("configure")
    assert "trusted_keys" in node.log


def check_trusted_keys(bench: Bench) -> None:
    store = bench.store()
    trusted = generate_key(bench.folder / "trusted")
    other = generate_key(bench.folder / "other")
    sign_manifest(store, bench.folder / "trusted")
    node = bench.start_real(*bench.gated(store), "require_signature:=true", f"trusted_keys:=['{other}']")
    assert not bench.client.change_state("configure")
    assert "is signed by key" in node.log
    assert bench.client.set_parameter("trusted_keys", [str(other), str(trusted)]) == (True, "")
    bench.client.bring_up()
    assert bench.info().is_gated


def check_gpu_memory_budget_bytes(bench: Bench) -> None:
    node = bench.start_real(
        *bench.gated(bench.store()), "primary.device:=cuda:0", "allow_cpu_fallback:=true", "gpu_memory_budget_bytes:=1"
    )
    assert not bench.client.change_state("configure")
    assert "gpu_memory_budget_bytes" in node.log


def check_fidelity_min_cosine(bench: Bench) -> None:
    # ONNX Runtime sums in another order than torch: near 1, and below it.
    store = bench.store(RuntimeLabel.ONNX_TRT_EP)
    node = bench.start_real(*bench.gated(store), "primary.runtime:=onnx_trt_ep", "fidelity_min_cosine:=1.0")
    assert not bench.client.change_state("configure")
    assert "1 is required" in node.log
    assert bench.client.set_parameter("fidelity_min_cosine", 0.99) == (True, "")
    bench.client.bring_up()


def check_fidelity_min_repeatability(bench: Bench) -> None:
    # FP16 weights move some keypoints across the threshold of the detector.
    store = bench.store(RuntimeLabel.ONNX_TRT_EP, model="xfeat", precision=PrecisionMode.FP16)
    parameters = (*bench.gated(store), "primary.runtime:=onnx_trt_ep", "primary.model:=xfeat")
    options = ("primary.precision:=fp16", "allow_cpu_fallback:=true", "fidelity_min_repeatability:=1.0")
    node = bench.start_real(*parameters, *options)
    assert not bench.client.change_state("configure")
    assert "keypoints are found again" in node.log
    assert bench.client.set_parameter("fidelity_min_repeatability", 0.9) == (True, "")
    bench.client.bring_up()
    assert 0.9 < bench.info().fidelity_repeatability < 1.0


def check_allow_cpu_fallback(bench: Bench) -> None:
    bench.start_real("allow_ungated:=true", "allow_cpu_fallback:=true", "primary.device:=cuda:7")
    bench.client.bring_up()
    info = bench.info()
    assert (info.requested_device, info.effective_device, info.effective_precision) == ("cuda:7", "cpu", "fp32")
    assert info.fallback_reason


def check_allow_ungated(bench: Bench) -> None:
    node = bench.start("allow_ungated:=false")
    assert not bench.client.change_state("configure")
    assert "allow_ungated" in node.log
    assert bench.client.set_parameter("allow_ungated", True) == (True, "")
    bench.client.bring_up()
    assert not bench.info().is_gated


def check_enabled_runtimes(bench: Bench) -> None:
    node = bench.start("enabled_runtimes:=['pytorch_fp16']")
    assert not bench.client.change_state("configure")
    assert "enabled_runtimes" in node.log


def check_architecture_modules(bench: Bench) -> None:
    (bench.folder / "my_networks.py").write_text(
        "from dataclasses import replace\n"
        "def register(registry):\n"
        "    spec = replace(registry.lookup('efficientnet_lite0_grid').spec, descriptor_dimension=448, paper='mine')\n"
        "    registry.register('my_network', 'my_networks:missing', spec=spec)\n"
    )
    path = f"{bench.folder}:{os.environ.get('PYTHONPATH', '')}"
    bench.start("architecture_modules:=['my_networks']", "primary.model:=my_network", environment={"PYTHONPATH": path})
    bench.client.bring_up()
    info = bench.info()
    assert (info.model, info.paper) == ("my_network", "mine")


def check_accepted_licenses(bench: Bench) -> None:
    (bench.folder / "restricted_networks.py").write_text(
        "from dataclasses import replace\n"
        "def register(registry):\n"
        "    free = registry.lookup('efficientnet_lite0_grid')\n"
        "    spec = replace(free.spec, license='LicenseRef-Mine', license_restriction='for me alone')\n"
        "    registry.register('restricted', free.factory, spec=spec, converter=free.converter)\n"
    )
    node = bench.start_real(
        *REAL_ENGINE,
        "architecture_modules:=['restricted_networks']",
        "primary.model:=restricted",
        environment={"PYTHONPATH": f"{bench.folder}:{os.environ.get('PYTHONPATH', '')}"},
    )
    assert not bench.client.change_state("configure")
    assert "LicenseRef-Mine: for me alone" in node.log
    assert bench.client.set_parameter("accepted_licenses", ["LicenseRef-Mine"]) == (True, "")
    bench.client.bring_up()
    assert bench.info().license == "LicenseRef-Mine"


def check_thermal_sources(bench: Bench) -> None:
    bench.start("thermal_sources:=['nvml']")
    assert bench.client.change_state("configure")
    states = bench.client.collect(messages.ThermalState, "/thermal_state", LATCHED)
    state = wait_for(lambda: states and states[-1], "thermal_state")
    assert state.source == "nvml" if state.is_telemetry_available else "nvml" in state.cause
    assert "sysfs" not in state.cause


def check_thermal_timeline(bench: Bench) -> None:
    timeline = Path(get_package_share_directory("gps_denied_inference")) / "config" / "thermal_timeline_example.yaml"
    bench.start("thermal_sources:=['scripted']", f"thermal_timeline:={timeline}")
    assert bench.client.change_state("configure")
    states = bench.client.collect(messages.ThermalState, "/thermal_state", LATCHED)
    state = wait_for(lambda: [s for s in states if s.is_telemetry_available], "a scripted reading")[-1]
    assert state.source == "scripted"


def check_thermal_poll_hz(bench: Bench) -> None:
    bench.start("thermal_poll_hz:=10")
    states = bench.client.collect(messages.ThermalState, "/thermal_state", LATCHED)
    assert bench.client.change_state("configure")
    assert np.median(bench.stamps_s(states, 12)) < 0.25


def check_per_frame_debug_log(bench: Bench) -> None:
    node = bench.start_real(*REAL_ENGINE, "per_frame_debug_log:=true")
    received = bench.client.features()
    bench.client.bring_up()
    publisher = bench.client.image_publisher()
    for stamp in range(3):
        bench.answer(publisher, received, stamp)
    lines = [line for line in node.log.splitlines() if "[DEBUG]" in line and "ms" in line]
    assert len(lines) == 4, node.log  # the warm-up on the worker's thread, then one a frame


def check_max_frame_age_ms(bench: Bench) -> None:
    options = ("max_frame_age_ms:=20.0", "input_reliability:=reliable", "diagnostics_rate_hz:=10.0")
    bench.start(*options, script="latency_ms: 1000.0")
    health = bench.client.health()
    bench.client.bring_up()
    publisher = bench.client.image_publisher()
    publisher.publish(image_message(_PIXELS, "rgb8", 1))
    wait_for(lambda: health[-1].pending == 1, "the frame in work")
    publisher.publish(image_message(_PIXELS, "rgb8", 2))
    wait_for(lambda: _dropped(health[-1]) == {"stale": 1}, "a stale frame")


def check_camera_id(bench: Bench) -> None:
    bench.start("camera_id:=nadir")
    received = bench.client.features()
    bench.client.bring_up()
    publisher = bench.client.image_publisher()
    assert bench.answer(publisher, received).camera_id == bench.info().camera_id == "nadir"
    assert bench.client.set_parameter("camera_id", "belly") == (True, "")
    assert bench.answer(publisher, received).camera_id == "belly"
    infos = bench.client.model_info()
    wait_for(lambda: infos and infos[-1].camera_id == "belly", "the new name in model_info")


def check_image_transport(bench: Bench) -> None:
    bench.start("image_transport:=compressed")
    bench.client.bring_up()
    wait_for(lambda: bench.client.node.count_subscribers("/image/compressed") == 1, "the compressed subscription")
    assert bench.client.node.count_subscribers("/image") == 0


def check_input_reliability(bench: Bench) -> None:
    bench.start()
    bench.client.bring_up()
    infos = wait_for(lambda: bench.client.node.get_subscriptions_info_by_topic("/image"), "the subscription")
    assert infos[0].qos_profile.reliability is ReliabilityPolicy.BEST_EFFORT
    assert infos[0].qos_profile.durability is DurabilityPolicy.VOLATILE
    assert bench.client.change_state("deactivate") and bench.client.change_state("cleanup")
    assert bench.client.set_parameter("input_reliability", "reliable") == (True, "")
    bench.client.bring_up()

    def is_reliable() -> bool:
        now = bench.client.node.get_subscriptions_info_by_topic("/image")
        return [info.qos_profile.reliability for info in now] == [ReliabilityPolicy.RELIABLE]

    wait_for(is_reliable, "the reliable subscription in place of the other")


def check_input_depth(bench: Bench) -> None:
    # Discovery does not carry the depth, and images are taken at once: this looks at the subscription of a node here.
    assert [_depth_of_image_subscription(bench, depth) for depth in (1, 10)] == [1, 10]


def _depth_of_image_subscription(bench: Bench, depth: int) -> int:
    parameters = (*fake_parameters(bench.folder, "latency_ms: 1.0"), f"input_depth:={depth}")
    with local_node(InferenceNode, bench.client.domain_id, *parameters) as node:
        node.trigger_configure()
        subscription = next(s for s in node.subscriptions if s.topic_name == "/image")
        return int(subscription.qos_profile.depth)


def check_output_reliability(bench: Bench) -> None:
    bench.start()
    bench.client.bring_up()
    infos = wait_for(lambda: bench.client.node.get_publishers_info_by_topic("/global_descriptor"), "the publisher")
    assert infos[0].qos_profile.reliability is ReliabilityPolicy.RELIABLE
    latched = wait_for(lambda: bench.client.node.get_publishers_info_by_topic("/model_info"), "the latched publisher")
    assert latched[0].qos_profile.reliability is ReliabilityPolicy.RELIABLE
    assert latched[0].qos_profile.durability is DurabilityPolicy.TRANSIENT_LOCAL
    assert bench.client.change_state("deactivate") and bench.client.change_state("cleanup")
    assert bench.client.set_parameter("output_reliability", "best_effort") == (True, "")
    bench.client.bring_up()

    def is_best_effort() -> bool:
        now = bench.client.node.get_publishers_info_by_topic("/global_descriptor")
        return [info.qos_profile.reliability for info in now] == [ReliabilityPolicy.BEST_EFFORT]

    wait_for(is_best_effort, "the best-effort publisher in place of the other")


def check_output_depth(bench: Bench) -> None:
    # Discovery does not carry the depth, so this looks at the publisher of a node in this process.
    assert [_depth_of_features_publisher(bench, depth) for depth in (2, 50)] == [2, 50]


def _depth_of_features_publisher(bench: Bench, depth: int) -> int:
    parameters = (*fake_parameters(bench.folder, "latency_ms: 1.0"), f"output_depth:={depth}")
    with local_node(InferenceNode, bench.client.domain_id, *parameters) as node:
        node.trigger_configure()
        publisher = next(p for p in node.publishers if p.topic_name == "/global_descriptor")
        return int(publisher.qos_profile.depth)


def check_diagnostics_rate_hz(bench: Bench) -> None:
    bench.start("diagnostics_rate_hz:=10")
    assert np.median(bench.stamps_s(bench.client.health(), 12)) < 0.25


def check_input_timeout_s(bench: Bench) -> None:
    bench.start("input_timeout_s:=3600.0")
    diagnostics, received = bench.client.diagnostics(), bench.client.features()
    bench.client.bring_up()
    bench.answer(bench.client.image_publisher(), received)
    wait_for(lambda: _input_message(diagnostics).endswith("images received"), "a content input")
    assert bench.client.set_parameter("input_timeout_s", 0.1) == (True, "")
    wait_for(lambda: _input_message(diagnostics).startswith("no image on /image"), "the missing image")


def check_infer_deadline_ms(bench: Bench) -> None:
    node = bench.start(script="latency_ms: 1.0\nfaults:\n  - {frame: 1, kind: hang, hang_ms: 3000}\n")
    received = bench.client.features()
    bench.client.bring_up()
    publisher = bench.client.image_publisher()
    bench.answer(publisher, received)
    assert bench.client.set_parameter("infer_deadline_ms", 200.0) == (True, "")
    publisher.publish(image_message(_PIXELS, "rgb8", 2))
    node.wait_for_log("(infer_deadline_ms is 200)")


def check_overload_warn_share(bench: Bench) -> None:
    bench.start("overload_warn_share:=1.0", "diagnostics_rate_hz:=10.0", script="latency_ms: 40.0")
    health = bench.client.health()
    bench.client.bring_up()
    publisher = bench.client.image_publisher()

    def is_told(is_expected: bool) -> bool:
        publisher.publish(image_message(_PIXELS, "rgb8", 1))
        overwritten = sum(drop.count for drop in health[-1].dropped) if health else 0
        return overwritten > 50 and ("overload" in health[-1].message) == is_expected

    wait_for(lambda: is_told(False), "overwritten frames without a word")
    assert bench.client.set_parameter("overload_warn_share", 0.1) == (True, "")
    wait_for(lambda: is_told(True), "the overload in the diagnostics")


def _sends_until_input_says(bench: Bench, name: str, value: float, word: str) -> None:
    bench.start()
    diagnostics, received = bench.client.diagnostics(), bench.client.features()
    bench.client.bring_up()
    publisher = bench.client.image_publisher()
    for _ in range(3):
        bench.answer(publisher, received)
    assert bench.client.set_parameter(name, value) == (True, "")

    def is_told() -> bool:
        publisher.publish(image_message(_PIXELS, "rgb8", time.time_ns()))
        return word in _input_message(diagnostics)

    wait_for(is_told, f"'{word}' in the input task")


def check_input_min_rate_hz(bench: Bench) -> None:
    _sends_until_input_says(bench, "input_min_rate_hz", 1000.0, "input_min_rate_hz = 1000")


def check_input_max_jitter_ms(bench: Bench) -> None:
    _sends_until_input_says(bench, "input_max_jitter_ms", 1e-6, "input_max_jitter_ms = 1e-06")


def check_input_future_tolerance_ms(bench: Bench) -> None:
    bench.start("input_future_tolerance_ms:=60000.0")
    diagnostics = bench.client.diagnostics()
    bench.client.bring_up()
    publisher = bench.client.image_publisher()

    def send() -> str:
        publisher.publish(image_message(_PIXELS, "rgb8", time.time_ns() + 20 * 10**9))
        return _input_message(diagnostics)

    wait_for(lambda: send().endswith("images received"), "a tolerated stamp")
    assert bench.client.set_parameter("input_future_tolerance_ms", 100.0) == (True, "")
    wait_for(lambda: "stamps lie in the future" in send(), "the stamp as WARN")


def _memory_says(bench: Bench, name: str, value: float, level: int) -> None:
    bench.start()
    health = bench.client.health()
    bench.client.bring_up()
    assert bench.client.set_parameter(name, value) == (True, "")
    wait_for(lambda: health and health[-1].level == level and name in health[-1].message, f"{name} in the health")


def check_memory_warn_share(bench: Bench) -> None:
    _memory_says(bench, "memory_warn_share", 0.01, 1)


def check_memory_error_share(bench: Bench) -> None:
    _memory_says(bench, "memory_error_share", 0.01, 2)


def check_memory_max_slope_mib_per_h(bench: Bench) -> None:
    # Growth is judged after two minutes: a node in this process is told of it at once.
    grown = MemoryReading(2**30, 0, None, used_share=0.5, slope_mib_per_h=300.0, watched_s=600.0)
    diagnostics = bench.client.diagnostics()

    def is_told() -> bool:
        return "memory_max_slope_mib_per_h = 250" in _task_message(diagnostics, "memory")

    with (
        patch.object(MemoryMonitor, "read", lambda *_: grown),
        local_node(InferenceNode, bench.client.domain_id, "memory_max_slope_mib_per_h:=250.0"),
    ):
        wait_for(is_told, "a process that grows")
        assert bench.client.set_parameter("memory_max_slope_mib_per_h", 350.0) == (True, "")
        wait_for(lambda: not is_told(), "growth below the limit")


def check_thermal_unknown_level(bench: Bench) -> None:
    bench.start("thermal_sources:=['']", "thermal_unknown_level:=error")
    health = bench.client.health()
    wait_for(lambda: health and health[-1].level == 2 and "thermal" in health[-1].message, "an unknown state as ERROR")


def check_thermal_stuck_after_s(bench: Bench) -> None:
    timeline = bench.folder / "still.yaml"
    timeline.write_text("steps:\n  - {at_s: 0, cpu_temperature_c: 50}\n")
    bench.start("thermal_sources:=['scripted']", f"thermal_timeline:={timeline}")
    health = bench.client.health()
    bench.client.bring_up()
    assert bench.client.set_parameter("thermal_stuck_after_s", 0.5)[0]
    wait_for(lambda: health and "may be stuck" in health[-1].message, "a sensor that stands still")


def _start_with_ladder(bench: Bench, *parameters: str, script: str = "latency_ms: 5.0") -> list[Any]:
    """Bring up a node with two rungs below the normal one; returns its health reports."""
    path = bench.folder / "ladder.yaml"
    path.write_text("rungs: [{name: a}, {name: b, max_rate_hz: 900}, {name: c, max_rate_hz: 800}]\n")
    calm = ("degradation_dwell_s:=0.5", "degradation_memory_share:=1.0", "diagnostics_rate_hz:=10.0")
    given = {parameter.partition(":=")[0]: parameter for parameter in (*calm, *parameters)}
    bench.start(f"primary.degradation_ladder:={path}", *given.values(), script=script)
    health = bench.client.health()
    bench.client.bring_up()
    wait_for(lambda: health and health[-1].rung_count == 3, "the ladder")
    return health


def _is_at(bench: Bench, health: list[Any], rung: int) -> None:
    """Wait for a rung while frames come in."""
    publisher = bench.client.image_publisher()

    def send_and_look() -> bool:
        publisher.publish(image_message(_PIXELS, "rgb8", 1))
        time.sleep(0.03)
        return bool(health[-1].rung == rung)

    wait_for(send_and_look, f"rung {rung}")


def check_primary_degradation_ladder(bench: Bench) -> None:
    health = _start_with_ladder(bench)
    assert (health[-1].rung, health[-1].rung_name) == (0, "a")


def check_primary_max_rate_hz(bench: Bench) -> None:
    bench.start("diagnostics_rate_hz:=10.0")
    health = bench.client.health()
    bench.client.bring_up()
    publisher = bench.client.image_publisher()
    assert bench.client.set_parameter("primary.max_rate_hz", 0.01) == (True, "")

    def send_and_look() -> bool:
        publisher.publish(image_message(_PIXELS, "rgb8", 1))
        time.sleep(0.03)
        return _dropped(health[-1]).get("rate_limited", 0) > 0

    wait_for(send_and_look, "a frame that the rate leaves out")


def check_primary_priority(bench: Bench) -> None:
    # Its effect on other engines is tested in test_node_engines.py: here, that it is taken while the node runs.
    urgent = "engines:=['primary','other']", "primary.priority:=1", "primary.max_rate_hz:=5.0"
    other = ("other.runtime:=fake", f"other.checkpoint:={bench.folder / 'other.yaml'}")
    (bench.folder / "other.yaml").write_text("latency_ms: 1.0\n")
    bench.start(*urgent, *other)
    bench.client.bring_up()
    assert bench.client.set_parameter("other.priority", 2) == (True, "")
    taken, reason = bench.client.set_parameter("other.priority", 101)
    assert not taken and "100" in reason


def check_degradation_allow_other_space(bench: Bench) -> None:
    (bench.folder / "light.yaml").write_text("latency_ms: 2.0\n")
    path = bench.folder / "ladder.yaml"
    path.write_text(f"rungs: [{{name: a}}, {{name: b, checkpoint: {bench.folder / 'light.yaml'}}}]\n")
    bench.start(f"primary.degradation_ladder:={path}", "degradation_allow_other_space:=true")
    bench.client.bring_up()


def check_degradation_dwell_s(bench: Bench) -> None:
    health = _start_with_ladder(bench, "degradation_memory_share:=0.01", "degradation_dwell_s:=600.0")
    wait_for(lambda: health[-1].rung == 1, "the first step")
    time.sleep(1.0)
    assert health[-1].rung == 1
    assert bench.client.set_parameter("degradation_dwell_s", 0.5) == (True, "")
    wait_for(lambda: health[-1].rung == 2, "the second step")


def check_degradation_stable_s(bench: Bench) -> None:
    health = _start_with_ladder(bench, "degradation_memory_share:=0.01", "degradation_stable_s:=3600.0")
    wait_for(lambda: health[-1].rung == 2, "the last rung")
    assert bench.client.set_parameter("degradation_memory_share", 1.0) == (True, "")
    time.sleep(1.0)
    assert health[-1].rung == 2
    assert bench.client.set_parameter("degradation_stable_s", 0.5) == (True, "")
    wait_for(lambda: health[-1].rung == 0, "the normal rung")


def check_degradation_memory_share(bench: Bench) -> None:
    health = _start_with_ladder(bench)
    assert bench.client.set_parameter("degradation_memory_share", 0.01) == (True, "")
    wait_for(lambda: health[-1].rung == 2 and "memory" in health[-1].rung_reason, "the last rung")


def check_degradation_miss_ratio(bench: Bench) -> None:
    health = _start_with_ladder(bench, "deadline_ms:=1.0", "degradation_miss_ratio:=1.0")
    received = bench.client.features()
    publisher = bench.client.image_publisher()
    for stamp in range(8):  # each of them late, which is no more than all
        bench.answer(publisher, received, stamp)
    assert health[-1].rung == 0
    assert bench.client.set_parameter("degradation_miss_ratio", 0.5) == (True, "")
    _is_at(bench, health, 1)


def check_deadline_ms(bench: Bench) -> None:
    health = _start_with_ladder(bench, "deadline_ms:=60000.0")
    received = bench.client.features()
    publisher = bench.client.image_publisher()
    for stamp in range(8):
        bench.answer(publisher, received, stamp)
    assert health[-1].rung == 0
    assert bench.client.set_parameter("deadline_ms", 1.0) == (True, "")
    _is_at(bench, health, 1)


def check_bond_enabled(bench: Bench) -> None:
    said = bench.client.collect(String, "/bond")
    bench.start("bond_enabled:=true", environment=with_bondpy(bench.folder))
    bench.client.bring_up()
    wait_for(lambda: said, "a heartbeat")


def check_deactivate_timeout_s(bench: Bench) -> None:
    node = bench.start("deactivate_timeout_s:=0.2", script="latency_ms: 4000.0")
    health = bench.client.health()
    bench.client.bring_up()
    bench.client.image_publisher().publish(image_message(_PIXELS, "rgb8", 1))
    wait_for(lambda: health and health[-1].pending == 1, "the frame in work")
    assert not bench.client.change_state("deactivate")
    assert "did not return within 0.2 s" in node.log
    assert bench.client.state() == "finalized"
    assert node.end(signal.SIGINT) == 0


def check_primary_runtime(bench: Bench) -> None:
    bench.start()
    bench.client.bring_up()
    assert bench.info().runtime == "fake"


def check_primary_model(bench: Bench) -> None:
    bench.start("primary.model:=xfeat")
    received = bench.client.collect(messages.LocalFeatures, "/local_features")
    bench.client.bring_up()
    assert bench.answer(bench.client.image_publisher(), received).model == "xfeat"


def check_primary_checkpoint(bench: Bench) -> None:
    bench.start(script="latency_ms: 1.0")
    bench.client.bring_up()
    first = bench.info().weights_sha256
    assert bench.client.change_state("deactivate") and bench.client.change_state("cleanup")
    other = bench.folder / "other.yaml"
    other.write_text("latency_ms: 2.0\n")
    assert bench.client.set_parameter("primary.checkpoint", str(other)) == (True, "")
    bench.client.bring_up()
    assert bench.info().weights_sha256 != first


def check_primary_engine_file(bench: Bench) -> None:
    store = bench.store()
    node = bench.start_real(*bench.gated(store), "primary.engine_file:=missing.pth")
    assert not bench.client.change_state("configure")
    assert "missing.pth" in node.log
    name = store.manifest().entries[0].file_name
    assert bench.client.set_parameter("primary.engine_file", name) == (True, "")
    bench.client.bring_up()
    assert bench.info().engine_file == name


def check_primary_onnx_providers(bench: Bench) -> None:
    store = bench.store(RuntimeLabel.ONNX_TRT_EP)
    parameters = (*bench.gated(store), "primary.runtime:=onnx_trt_ep", "primary.onnx_providers:=['cuda']")
    node = bench.start_real(*parameters)
    assert not bench.client.change_state("configure")
    assert "onnx_providers" in node.log
    assert bench.client.set_parameter("primary.onnx_providers", ["cpu"]) == (True, "")
    bench.client.bring_up()
    assert bench.info().provider.startswith("CPUExecutionProvider")


def check_primary_intra_op_threads(bench: Bench) -> None:
    store = bench.store(RuntimeLabel.ONNX_TRT_EP)
    node = bench.start_real(*bench.gated(store), "primary.runtime:=onnx_trt_ep", "primary.intra_op_threads:=1")
    threads = []
    for count in (1, 9):
        assert bench.client.set_parameter("primary.intra_op_threads", count) == (True, "")
        assert bench.client.change_state("configure")
        threads.append(len(list(Path(f"/proc/{node.pid}/task").iterdir())))
        assert bench.client.change_state("cleanup")
    assert threads[1] - threads[0] == 8


def check_primary_allow_spinning(bench: Bench) -> None:
    store = bench.store(RuntimeLabel.ONNX_TRT_EP)
    bench.start_real(*bench.gated(store), "primary.runtime:=onnx_trt_ep", "primary.allow_spinning:=true")
    bench.client.bring_up()
    assert bench.info().provider.endswith("threads spin")


def check_primary_tensorrt_flavour(bench: Bench) -> None:
    store = EngineStore(bench.folder / "store")
    name = replace(HOST_NAME, model="efficientnet_lite0_grid", sms=("86",), platform="any", toolchain="rtx1.7.1.116")
    preprocessing = default_registry().lookup(name.model).spec.preprocess.sha256
    path = add_engine(store, b"no engine", name, preprocess_sha256=preprocessing)
    node = bench.start_real(
        f"engine_store:={store.root}", f"primary.engine_file:={path.name}", "allow_ungated:=true",
        "primary.runtime:=tensorrt", "primary.tensorrt_flavour:=tensorrt_rtx",
    )  # fmt: skip
    assert not bench.client.change_state("configure")
    assert "tensorrt_rtx" in node.log or "TensorRT for RTX" in node.log
    assert "package 'tensorrt'" not in node.log
    assert bench.client.set_parameter("primary.tensorrt_flavour", "tensorrt") == (True, "")
    assert not bench.client.change_state("configure")
    wait_for(lambda: "package 'tensorrt'" in node.log or "TensorRT 1" in node.log, "the other TensorRT")


def check_primary_precision(bench: Bench) -> None:
    bench.start_real(*REAL_ENGINE, "primary.precision:=fp32")
    bench.client.bring_up()
    assert bench.info().requested_precision == "fp32"


def check_primary_device(bench: Bench) -> None:
    bench.start_real("allow_ungated:=true", "primary.device:=cpu", "primary.precision:=fp32")
    bench.client.bring_up()
    info = bench.info()
    assert (info.requested_device, info.effective_device, info.fallback_reason) == ("cpu", "cpu", "")


def check_primary_resize_mode(bench: Bench) -> None:
    bench.start("primary.resize_mode:=letterbox")
    bench.client.bring_up()
    letterboxed = bench.info()
    assert letterboxed.resize_mode == "letterbox"
    assert bench.client.change_state("deactivate") and bench.client.change_state("cleanup")
    assert bench.client.set_parameter("primary.resize_mode", "crop") == (True, "")
    bench.client.bring_up()
    assert bench.info().resize_mode == "crop"
    assert bench.info().space_id != letterboxed.space_id


def check_primary_top_k(bench: Bench) -> None:
    bench.start("primary.model:=xfeat", "primary.top_k:=5")
    received = bench.client.collect(messages.LocalFeatures, "/local_features")
    bench.client.bring_up()
    assert bench.answer(bench.client.image_publisher(), received).count == 5


_CHECKS: dict[str, Callable[[Bench], None]] = {
    name.removeprefix("check_").replace("primary_", "primary.", 1): function
    for name, function in list(globals().items())
    if name.startswith("check_") and inspect.isfunction(function)
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the engines that were built for a check."""
    return tmp_path_factory.mktemp("built")


@pytest.mark.parametrize("name", _FIELDS)
def test_parameter_has_an_effect(
    name: str, client: Client, launcher: NodeLauncher, tmp_path: Path, built: Path
) -> None:
    _CHECKS[name](Bench(client, launcher, tmp_path, built))


def test_every_parameter_is_described_with_type_and_range(
    client: Client, launcher: NodeLauncher, fake_engine: tuple[str, ...]
) -> None:
    node = launcher.start(*fake_engine)
    descriptors = client.describe_parameters(list(_FIELDS))
    for descriptor, (name, item) in zip(descriptors, _FIELDS.items(), strict=True):
        assert descriptor.name == name
        assert descriptor.description == item.description
        assert descriptor.read_only == item.is_read_only
        if item.maximum is not None:
            ranges = list(descriptor.integer_range) + list(descriptor.floating_point_range)
            assert (ranges[0].from_value, ranges[0].to_value) == (item.minimum, item.maximum)
    assert node.end() == 0


def test_wrong_value_is_refused_with_the_right_ones_and_a_static_one_until_cleanup(
    client: Client, launcher: NodeLauncher, fake_engine: tuple[str, ...]
) -> None:
    node = launcher.start(*fake_engine)
    taken, reason = client.set_parameter("primary.precision", "fp8")
    assert not taken and "'fp16'" in reason
    assert client.change_state("configure")
    taken, reason = client.set_parameter("primary.model", "xfeat")
    assert not taken and "cleanup" in reason
    assert client.change_state("cleanup")
    assert client.set_parameter("primary.model", "xfeat") == (True, "")
    assert node.end() == 0


def test_shipped_parameter_file_holds_every_parameter_with_its_default_and_range() -> None:
    path = Path(get_package_share_directory("gps_denied_inference")) / "config" / "inference.yaml"
    text = path.read_text()
    values = yaml.safe_load(text)["/**"]["ros__parameters"]
    flat = {name: value for name, value in values.items() if name != "primary"}
    flat |= {f"primary.{name}": value for name, value in values["primary"].items()}
    assert flat.keys() == _FIELDS.keys()
    prose = " ".join(line.strip().removeprefix("#").strip() for line in text.splitlines())
    for name, item in _FIELDS.items():
        default = list(item.default) or [""] if isinstance(item.default, tuple) else item.default
        assert flat[name] == default and type(flat[name]) is type(default), name
        assert f"{item.description} Allowed: {item.allowed}." in prose, name


def test_node_takes_the_shipped_parameter_file(client: Client, launcher: NodeLauncher) -> None:
    path = Path(get_package_share_directory("gps_denied_inference")) / "config" / "inference.yaml"
    launcher.start(params_file=path)
    assert client.state() == "unconfigured"


def _dropped(health: Any) -> dict[str, int]:
    return {drop.reason: drop.count for drop in health.dropped if drop.count}


def _input_message(diagnostics: list[Any]) -> str:
    return _task_message(diagnostics, "input")


def _task_message(diagnostics: list[Any], task: str) -> str:
    told = [s.message for array in diagnostics for s in array.status if s.name.endswith(f": {task}")]
    return told[-1] if told else ""
