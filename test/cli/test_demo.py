"""The demo and live replay over real DDS, with the real network, on a short flight."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="live replay needs ROS 2")

from dds_segments import fast_dds_segments, remove_abandoned

from gps_denied_inference.cli.demonstration.live import own_domain
from gps_denied_inference.core.index import load_tile_index, tile_of_frame_id
from gps_denied_inference.core.replay import BagReader


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    output = tmp_path_factory.mktemp("demo") / "out"
    before = fast_dds_segments()
    command = [sys.executable, "-m", "gps_denied_inference.cli.main", "demo", "--quick", "--output", str(output)]
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=240, check=False)
    remove_abandoned(fast_dds_segments() - before)
    return output, result


def test_demo_succeeds_and_says_where_the_report_is(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    output, result = demo
    assert result.returncode == 0, result.stderr
    assert f"report: {output / 'report.html'}" in result.stdout


def test_every_frame_of_the_demo_is_accounted_for(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    output, _ = demo
    figures = json.loads((output / "report.json").read_text())
    dropped = sum(figures["frames_dropped"].values())
    assert figures["frames_in"] == 30
    assert figures["frames_in"] == figures["frames_published"] + dropped + figures["frames_lost_in_transport"]
    assert figures["messages_recorded"] == figures["frames_published"] > 0


def test_node_of_the_demo_answers_with_the_real_network(
    demo: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    output, _ = demo
    figures = json.loads((output / "report.json").read_text())
    assert figures["runtime"] == "onnx_trt_ep" and figures["facts"]["model"] == "efficientnet_lite0_grid"
    assert figures["facts"]["is_gated"] and figures["facts"]["provider"].startswith("CPUExecutionProvider of ")
    assert figures["recall_at_1"] > figures["recall_at_1_random"]
    assert figures["facts"]["weights_sha256"].startswith("579344248a93")


def test_frames_go_on_to_positions_through_every_node_and_are_accounted_for(
    demo: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    output, result = demo
    figures = json.loads((output / "report.json").read_text())
    refinement = figures["refinement"]
    assert figures["refined_frames"] + sum(refinement["not_refined"].values()) == figures["frames_published"]
    assert refinement["reranked_frames"] >= figures["refined_frames"] > 0
    assert figures["median_error_refined_m"] < refinement["median_error_retrieved_m"]
    for node in refinement["nodes"]:
        assert node["received"] == node["published"] + sum(node["dropped"].values()) + node["pending"], node
    assert [node["sent"] for node in refinement["nodes"][:2]] == [30, figures["frames_published"]]
    assert "median error, refined" in result.stdout
    assert "From the best tile to a position" in (output / "report.html").read_text()
    index = load_tile_index(output / "map.index")
    with BagReader(output / "output_bag") as reader:
        places = [reader.decode(cdr, kind) for _, kind, cdr in reader.messages("/place_candidates")]
        matches = [reader.decode(cdr, kind) for _, kind, cdr in reader.messages("/feature_matches")]
    assert {place.index_sha256 for place in places} == {index.sha256}
    assert {tile_of_frame_id(match.second_header.frame_id)[0] for match in matches} == {index.sha256}
    assert len(matches) >= figures["refined_frames"]


def test_demo_compares_both_runtimes_on_every_third_frame(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    output, _ = demo
    figures = json.loads((output / "report.json").read_text())["runtime_agreement"]
    assert figures["baseline"] == "pytorch_fp16" and figures["frames"] == 10
    assert 0.9999 <= figures["cosine_min"] <= figures["cosine_median"] <= 1.0000001
    assert "Two runtimes, one network" in (output / "report.html").read_text()


def test_output_bag_of_the_demo_describes_itself(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    output, _ = demo
    with BagReader(output / "output_bag") as reader:
        counts = {topic: len(list(reader.messages(topic))) for topic in reader.topics}
        spaces = {reader.decode(cdr, kind).space_id for _, kind, cdr in reader.messages("/global_descriptor")}
        infos = {reader.decode(cdr, kind).space_id for _, kind, cdr in reader.messages("/model_info")}
    assert counts["/model_info"] >= 1 and counts["/engine_health"] >= 2 and counts["/thermal_state"] >= 1
    assert spaces == infos and len(spaces) == 1


def test_flight_bag_of_the_demo_holds_images_and_true_poses(
    demo: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    output, _ = demo
    with BagReader(output / "flight_bag") as reader:
        images = [ns for ns, _, _ in reader.messages("/camera/image/compressed")]
        poses = [ns for ns, _, _ in reader.messages("/ground_truth/pose")]
    assert len(images) == 30 and images == poses


def test_live_replay_without_a_node_ends_in_one_sentence(
    demo: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    output, _ = demo
    code = (
        "import sys; from pathlib import Path; from gps_denied_inference.core.replay import BagReader;"
        "from gps_denied_inference.ros.live_replay import LiveReplayOptions, replay_live\n"
        "from gps_denied_inference.core.errors import ReplayError\n"
        "with BagReader(Path(sys.argv[1])) as reader:\n"
        "    try: replay_live(reader, reader.choose_image_topic(), LiveReplayOptions(namespace='/nobody',"
        " connect_timeout_s=1.0))\n"
        "    except ReplayError as error: print(error)\n"
    )
    with own_domain(tmp_path) as environment:
        result = subprocess.run(
            [sys.executable, "-c", code, str(output / "flight_bag")],
            capture_output=True,
            text=True,
            env=os.environ | environment,
            timeout=60,
            check=False,
        )
    assert "nobody subscribed to /nobody/image/compressed within 1 s" in result.stdout, result.stderr


def test_heat_episode_of_the_demo_is_hot_and_accounts_for_every_frame(
    demo: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    output, _ = demo
    heat = json.loads((output / "report.json").read_text())["heat_episode"]
    dropped = sum(heat["frames_dropped"].values())
    assert heat["frames_in"] == heat["frames_published"] + dropped + heat["frames_lost_in_transport"] == 30
    assert [rung["name"] for rung in heat["rungs"]] == ["full", "fewer keypoints", "half the rate"]
    with BagReader(output / "heat" / "output_bag") as reader:
        states = [reader.decode(cdr, kind) for _, kind, cdr in reader.messages("/thermal_state")]
        health = [reader.decode(cdr, kind) for _, kind, cdr in reader.messages("/engine_health")]
    assert {state.source for state in states if state.is_telemetry_available} == {"scripted"}
    hot = [state for state in states if state.thermal_throttle_active]
    assert hot and all("thermal limit" in state.cause and state.gpu_temperature_c > 85.0 for state in hot)
    assert not states[-1].thermal_throttle_active
    assert all(report.rung_count == 3 for report in health if report.lifecycle_state == "active")
    assert "A heat episode" in (output / "report.html").read_text()
