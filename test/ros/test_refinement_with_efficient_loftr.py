"""`refinement_node` with Efficient LoFTR at its full size, on seeded weights: no package brings the published ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from node_bench import DEEP, node_bench
from node_harness import image_message, wait_for

import gps_denied_inference.msg as messages
from gps_denied_inference.core.atomic_files import file_sha256
from gps_denied_inference.core.flight import CameraPose, camera_of_tiles, load_orthophoto, locate_orthophoto
from gps_denied_inference.core.interface import geometry_from_message, points_from_message
from gps_denied_inference.ros.message_factory import RclpyMessageFactory
from test.golden.seeded_checkpoints import seeded_checkpoint

safetensors = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
pytest.importorskip("cv2", reason="OpenCV is not installed")
pytest.importorskip("rasterio", reason="rasterio is not installed")
pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from indexed_maps import index_map, write_map  # noqa: E402 - needs rasterio

# Three passes of 8 s on the CPU: when it is loaded, on the worker's thread, and with the image.
pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

_NODE = "/refinement_node"


def test_efficient_loftr_finds_the_tile_that_an_image_shows(domain_id: int, tmp_path: Path) -> None:
    ground = load_orthophoto(locate_orthophoto()).image_rgb[300:1000, 200:1000]
    mapped = index_map(write_map(tmp_path / "map.tif", ground))
    checkpoint = tmp_path / "efficient_loftr.safetensors"
    values = {key: np.ascontiguousarray(value) for key, value in seeded_checkpoint("efficient_loftr").items()}
    safetensors.save_file(values, checkpoint)
    tile = int(np.flatnonzero(mapped.index.headings_deg == 90.0)[0])
    view = mapped.grid.views[tile]
    camera, height_m = camera_of_tiles(480, 4 / 3, 40.0)
    image_rgb = camera.render(mapped.ground.orthophoto, CameraPose(0, view.x_m, view.y_m, height_m, view.heading_deg))
    with node_bench(domain_id, tmp_path) as bench:
        node = bench.start(
            "refinement_node",
            f"index:={mapped.index_path}",
            f"maps:=['{mapped.map_path}']",
            f"weights_dir:={tmp_path}",
            "primary.device:=cpu",
            "primary.precision:=fp32",
            "allow_ungated:=true",
            "max_frame_age_ms:=60000.0",
            "deactivate_timeout_s:=60.0",
            "input_reliability:=reliable",
        )
        bench.client.bring_up(_NODE)
        image = bench.client.image_publisher("/image", node_qos=DEEP)
        places = bench.client.image_publisher("/place_candidates", messages.PlaceCandidates, node_qos=DEEP)
        matches = bench.client.collect(messages.FeatureMatches, "/refinement/feature_matches", DEEP)
        bench.client.await_seen_by(_NODE)
        image.publish(image_message(image_rgb, "rgb8", 7))
        places.publish(
            messages.PlaceCandidates(
                header=RclpyMessageFactory().header(7, "camera_optical"),
                index_sha256=mapped.index.sha256,
                candidates=[messages.PlaceCandidate(tile=tile)],
            )
        )
        wait_for(lambda: matches[-1], "its matches", 200.0)
        assert node.end(timeout_s=60.0) == 0
        assert "Traceback" not in node.log
    message = matches[-1]
    assert (message.matcher, message.runtime) == ("efficient_loftr", "pytorch_fp16")
    assert message.matcher_weights_sha256 == file_sha256(checkpoint)
    assert message.second_header.frame_id == f"tile/{mapped.index.sha256}/{tile}"
    points, geometry = points_from_message(message), geometry_from_message(message)
    assert points is not None and points.count == message.count > 100
    assert (points.first_px >= 0).all() and (points.first_px <= (639, 479)).all()
    assert geometry.matrix is not None and message.inlier_count > 0.9 * message.count
    # The image shows the tile and nothing else: each point is its own counterpart.
    np.testing.assert_allclose(geometry.matrix, np.eye(3), atol=0.05)
