"""`gdi index query`: images, or those of a bag, looked up in an index."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gps_denied_inference.cli.console import say
from gps_denied_inference.cli.engine_options import add_engine_options, settings_from_options
from gps_denied_inference.core.assembly import assemble_pipeline
from gps_denied_inference.core.contracts import CompressedFrame, Frame, GlobalDescriptor
from gps_denied_inference.core.errors import ReplayError, SettingsError
from gps_denied_inference.core.index import load_tile_index
from gps_denied_inference.core.replay import BagReader

__all__ = ["add_actions", "run"]

_PICTURES = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png"}


def add_actions(actions: Any) -> None:
    """Add the action."""
    parser = actions.add_parser("query", help="look images up in an index")
    parser.add_argument("index", type=Path, help="file that 'gdi index build' wrote")
    parser.add_argument("image", type=Path, nargs="+", help="JPEG or PNG, or a bag with images")
    parser.add_argument("-k", type=int, default=10, choices=range(1, 1001), metavar="N", help="candidates (10)")
    parser.add_argument("--topic", help="of the images in a bag; needed when it has several")
    parser.add_argument("--json", action="store_true", help="one JSON object an image")
    add_engine_options(parser)
    # The network that made the index, unless another one is asked for, which is refused by its space.
    parser.set_defaults(run_action=run, model="")


def run(options: argparse.Namespace) -> int:
    """Look each image up and print its candidates, best first."""
    index = load_tile_index(options.index)
    options.model = options.model or index.details.model
    if not options.model:
        raise SettingsError("primary.model", "", f"--model NAME: {options.index} does not say which network made it")
    with assemble_pipeline(settings_from_options(options)) as pipeline:
        for name, frame in _frames(options):
            features = pipeline.process(frame).features
            if not isinstance(features, GlobalDescriptor):
                raise SettingsError("primary.model", options.model, "a network with a global descriptor (gdi models)")
            matches = index.search(features.values, pipeline.model.space_id, options.k)
            if options.json:
                candidates = [
                    {name: getattr(match, name) for name in ("tile", "x_m", "y_m", "heading_deg", "similarity")}
                    for match in matches
                ]
                say(json.dumps({"image": name, "candidates": candidates}))
                continue
            say(name)
            say("  rank      tile           x_m           y_m  heading_deg  similarity")
            for rank, match in enumerate(matches, 1):
                say(
                    f"  {rank:4d}  {match.tile:8d}  {match.x_m:12.2f}  {match.y_m:12.2f}  {match.heading_deg:11.1f}  "
                    f"{match.similarity:10.4f}"
                )
    return 0


def _frames(options: argparse.Namespace) -> Iterator[tuple[str, Frame]]:
    for path in options.image:
        encoding = _PICTURES.get(path.suffix.lower())
        if encoding is None:
            with BagReader(path) as reader:
                for image in reader.images(reader.choose_image_topic(options.topic)):
                    frame = reader.frame(image)
                    yield f"{path.name} at {frame.stamp_ns / 1e9:.9f}", frame
            continue
        try:
            data = np.fromfile(path, np.uint8)
        except OSError as error:
            raise ReplayError(f"cannot read the image {path}: {error.strerror}") from error
        yield path.name, CompressedFrame(0, path.name, encoding, data)
