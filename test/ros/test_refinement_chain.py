"""From an image to its place: descriptors, candidates in an index that `gdi index build` wrote, and refinement."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from node_harness import Client, NodeLauncher, image_message, wait_for
from node_parameters import REAL_ENGINE

import gps_denied_inference.msg as messages
from gps_denied_inference.cli.main import main
from gps_denied_inference.core.flight import (
    CameraPose,
    NadirCamera,
    camera_of_tiles,
    load_georeferenced_map,
    load_orthophoto,
    locate_orthophoto,
)
from gps_denied_inference.core.index import image_center_m, load_tile_index, tile_of_frame_id
from gps_denied_inference.core.interface import geometry_from_message, stamp_ns_from_message
from gps_denied_inference.core.refinement import load_map_tiles

pytest.importorskip("cv2", reason="OpenCV is not installed")
pytest.importorskip("rasterio", reason="rasterio is not installed")
torch = pytest.importorskip("torch", reason="torch is not installed")

from image_matcher_stand_in import MODEL, write_checkpoint  # noqa: E402 - needs torch
from indexed_maps import CRS, write_map  # noqa: E402 - needs rasterio

_ASPECT = 1.3333333333333333


def test_image_is_recognised_and_placed_by_nodes_that_know_of_each_other_by_topics_alone(
    client: Client, launcher: NodeLauncher, tmp_path: Path
) -> None:
    ground_rgb = load_orthophoto(locate_orthophoto()).image_rgb[300:1100, 200:1300]
    map_path, index_path = write_map(tmp_path / "map.tif", ground_rgb), tmp_path / "map.index"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two wait for each other longer than they compute, where others have the processors
    tiles_as = ("--side", "40", "--aspect", str(_ASPECT), "--stride", "20", "--headings", "2", "--device", "cpu")
    assert main(["index", "build", str(map_path), "--out", str(index_path), *tiles_as, "--precision", "fp32"]) == 0
    torch.set_num_threads(threads)
    index = load_tile_index(index_path)
    assert index.details.crs == CRS

    row = int(np.flatnonzero(index.headings_deg == 180.0)[2])
    ground = load_georeferenced_map(map_path)
    _, height_m = camera_of_tiles(480, _ASPECT, 40.0)
    place_m = index.positions_m[row] + (2.0, -1.5)
    pose = CameraPose(0, *ground.from_projected(*place_m), height_m, 183.0)
    image_rgb = NadirCamera(640, 480, 60.0).render(ground.orthophoto, pose)

    launcher.start(*REAL_ENGINE, "max_frame_age_ms:=60000.0", namespace="/uav")
    launcher.start(f"index:={index_path}", executable="place_recognition_node", namespace="/uav")
    launcher.start(
        f"index:={index_path}",
        f"maps:=['{map_path}']",
        "tile_pixels:=240",
        "architecture_modules:=['image_matcher_stand_in']",
        f"primary.model:={MODEL}",
        f"primary.checkpoint:={write_checkpoint(tmp_path)}",
        "primary.device:=cpu",
        "primary.precision:=fp32",
        "allow_ungated:=true",
        "max_frame_age_ms:=60000.0",
        "input_reliability:=reliable",
        executable="refinement_node",
        namespace="/uav",
        environment={
            "PYTHONPATH": f"{Path(__file__).parents[1] / 'support'}:{os.environ.get('PYTHONPATH', '')}",
        },
    )
    for node in ("refinement_node", "place_recognition_node", "inference_node"):
        client.bring_up(f"/uav/{node}")
    matches = client.collect(messages.FeatureMatches, "/uav/refinement/feature_matches")
    images = client.image_publisher("/uav/image")
    wait_for(lambda: images.get_subscription_count() == 2, "both nodes that take images")
    stamps = itertools.count(1)

    def is_answered() -> bool:
        stamp_ns = next(stamps)
        images.publish(image_message(image_rgb, "rgb8", stamp_ns))
        try:
            wait_for(lambda: matches[-1], "its matches", 2.0)
        except AssertionError:
            return False
        return True

    wait_for(is_answered, "an image that was recognised and refined")
    message = matches[-1]
    assert 0 < stamp_ns_from_message(message) < next(stamps) and message.header.frame_id == "camera_optical"
    sha256, tile = tile_of_frame_id(message.second_header.frame_id)
    assert (sha256, tile) == (index.sha256, row)
    assert message.inlier_count > 40
    tiles = load_map_tiles(index, [map_path], shorter_px=240)
    found_m = image_center_m(
        geometry_from_message(message).matrix, index, tiles, tile, image_height=480, image_width=640
    )
    np.testing.assert_allclose(found_m, place_m, atol=0.3)
