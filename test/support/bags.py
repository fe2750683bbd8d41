"""Small bags with images."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

from gps_denied_inference.core.replay import BagFormat, BagTopic, BagWriter, Compression

__all__ = ["IMAGE_TYPE", "without_last_images", "write_image_bag"]

IMAGE_TYPE = "sensor_msgs/msg/CompressedImage"


def write_image_bag(
    path: Path,
    *,
    frames: int = 6,
    topics: tuple[str, ...] = ("/camera/image/compressed",),
    storage: BagFormat = BagFormat.MCAP,
    compression: Compression = Compression.NONE,
    side_px: int = 32,
    broken_jpeg: int | None = None,
) -> Path:
    """Write noise images, 10 a second, on each topic.

    Args:
        broken_jpeg: index of a frame whose bytes are no JPEG.
    """
    generator = np.random.default_rng(0)
    with BagWriter(
        path, [BagTopic(topic, IMAGE_TYPE) for topic in topics], storage=storage, compression=compression
    ) as bag:
        for index in range(frames):
            stamp_ns = 1_000_000_000 + index * 100_000_000
            pixels = generator.integers(0, 256, (side_px, side_px, 3), dtype=np.uint8)
            data = cv2.imencode(".jpg", pixels)[1].reshape(-1)
            if index == broken_jpeg:
                data = np.frombuffer(b"this is not a picture", np.uint8)
            message = bag.factory.typestore.types[IMAGE_TYPE](
                header=bag.factory.header(stamp_ns, "camera"), format="jpeg", data=data
            )
            for topic in topics:
                bag.write(topic, stamp_ns, message)
    return path


def without_last_images(bag: Path, *, kept: int) -> Path:
    """Take messages from an SQLite bag whose metadata goes on announcing them, as a copy that was cut off."""
    with closing(sqlite3.connect(next(bag.glob("*.db3")))) as database, database:
        database.execute("DELETE FROM messages WHERE id NOT IN (SELECT id FROM messages ORDER BY id LIMIT ?)", (kept,))
    return bag
