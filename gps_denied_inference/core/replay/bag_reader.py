"""Reading rosbag2 bags (mcap, sqlite3, plain or zstd) without ROS."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gps_denied_inference.core.contracts import Frame
from gps_denied_inference.core.errors import ReplayError
from gps_denied_inference.core.interface import (
    RosbagsMessageFactory,
    compressed_frame_from_message,
    image_frame_from_message,
)
from gps_denied_inference.core.optional import require

__all__ = ["BagImage", "BagReader", "ImageTopic"]

_FRAME_FROM_MESSAGE: Mapping[str, Callable[[Any], Frame]] = {
    "sensor_msgs/msg/Image": image_frame_from_message,
    "sensor_msgs/msg/CompressedImage": compressed_frame_from_message,
}


@dataclass(frozen=True, slots=True)
class ImageTopic:
    """A topic with images.

    Attributes:
        name: e.g. `/camera/image/compressed`.
        message_type: `sensor_msgs/msg/Image` or `sensor_msgs/msg/CompressedImage`.
        count: images in the bag.
    """

    name: str
    message_type: str
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class BagImage:
    """One recorded image, still serialised.

    Attributes:
        recorded_ns: when the recorder got it, nanoseconds since the epoch.
        message_type: as in `ImageTopic`.
        cdr: the serialised message, encapsulation header included.
    """

    recorded_ns: int
    message_type: str
    cdr: bytes


class BagReader:
    """An open bag. A context manager.

    Args:
        path: folder with `metadata.yaml`, or a single `.mcap` or `.db3` file.

    Raises:
        ReplayError: nothing is there, it is not a bag, or it is damaged; says what to do.
        RuntimeNotAvailableError: rosbags is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _require_bag(path)
        highlevel = require("rosbags.highlevel", install="pip install rosbags", purpose="reading bags")
        self._typestore: Any = RosbagsMessageFactory().typestore
        try:
            # rosbags reports damage in many ways (its own errors, struct, zstd, yaml, assertions): any of them means
            # that this is no readable bag.
            self._reader: Any = highlevel.AnyReader([path], default_typestore=self._typestore)
            self._reader.open()
        except Exception as error:
            raise ReplayError(
                f"{path} cannot be read as a bag: {_reason(error)}; check that it was copied whole, or restore its "
                "index with 'ros2 bag reindex'"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files. Call once."""
        self._reader.close()

    @property
    def topics(self) -> dict[str, str]:
        """Every topic and its message type."""
        return {connection.topic: connection.msgtype for connection in self._reader.connections}

    def image_topics(self) -> list[ImageTopic]:
        """Return the topics that hold images, by name; topics without a message are left out."""
        counts: dict[tuple[str, str], int] = {}
        for connection in self._reader.connections:
            if connection.msgtype in _FRAME_FROM_MESSAGE and connection.msgcount:
                key = (connection.topic, connection.msgtype)
                counts[key] = counts.get(key, 0) + connection.msgcount
        return [ImageTopic(name, kind, count) for (name, kind), count in sorted(counts.items())]

    def choose_image_topic(self, name: str | None = None) -> ImageTopic:
        """Return the topic of that name, or the only one with images.

        Raises:
            ReplayError: there is none, there are several and no name was given, or the name is wrong.
        """
        found = self.image_topics()
        if name is not None:
            for topic in found:
                if topic.name == name:
                    return topic
        if not found:
            raise ReplayError(
                f"{self.path} holds no images: it needs a topic of type sensor_msgs/msg/Image or "
                f"sensor_msgs/msg/CompressedImage; it has {_listed(self.topics)}"
            )
        names = ", ".join(f"{topic.name} ({topic.count})" for topic in found)
        if name is not None:
            raise ReplayError(f"{self.path} has no image topic '{name}'; image topics: {names}")
        if len(found) > 1:
            raise ReplayError(f"{self.path} has several image topics; choose one with --topic: {names}")
        return found[0]

    def images(self, topic: ImageTopic) -> Iterator[BagImage]:
        """Yield the images of a topic in recorded order, serialised.

        Raises:
            ReplayError: the bag is damaged from here on, or ends before its last image; what was yielded before is
                sound.
        """
        count = 0
        for recorded_ns, message_type, cdr in self.messages(topic.name):
            if message_type == topic.message_type:
                yield BagImage(recorded_ns, message_type, cdr)
                count += 1
        # A storage file that was cut off may end without an error.
        if count < topic.count:
            raise ReplayError(
                f"{self.path} announces {topic.count} images of {topic.name} but only {count} can be read; check that "
                "it was copied whole"
            )

    def messages(self, topic: str) -> Iterator[tuple[int, str, bytes]]:
        """Yield (recorded_ns, message type, serialised message) of a topic in recorded order.

        Raises:
            ReplayError: the bag is damaged from here on.
        """
        connections = [connection for connection in self._reader.connections if connection.topic == topic]
        if not connections:
            return
        count = 0
        try:
            for connection, recorded_ns, cdr in self._reader.messages(connections):
                yield int(recorded_ns), str(connection.msgtype), bytes(cdr)
                count += 1
        except Exception as error:
            raise ReplayError(f"{self.path} is damaged after message {count} of {topic}: {_reason(error)}") from error

    def decode(self, cdr: bytes, message_type: str) -> Any:
        """Return a message by the definitions in the bag.

        Raises:
            ReplayError: the bytes are not such a message.
        """
        try:
            return self._reader.deserialize(cdr, message_type)
        except Exception as error:
            raise ReplayError(f"{self.path} holds a broken {message_type}: {_reason(error)}") from error

    def frame(self, image: BagImage) -> Frame:
        """Return the image as a frame, not yet decompressed.

        Raises:
            ReplayError: the bytes are not such a message.
        """
        # Decoded by the definition that we know, not by the bag's: older recorders stored none.
        try:
            message = self._typestore.deserialize_cdr(image.cdr, image.message_type)
        except Exception as error:
            raise ReplayError(f"{self.path} holds a broken {image.message_type}: {_reason(error)}") from error
        return _FRAME_FROM_MESSAGE[image.message_type](message)


def _require_bag(path: Path) -> None:
    if not path.exists():
        raise ReplayError(f"there is no bag at {path}; give a rosbag2 folder, or an .mcap or .db3 file")
    if path.is_dir():
        if not (path / "metadata.yaml").is_file():
            files = [file.name for file in sorted(path.iterdir()) if file.suffix in {".mcap", ".db3"}]
            hint = f"give the file itself ({files[0]}) or run 'ros2 bag reindex'" if files else "give a rosbag2 folder"
            raise ReplayError(f"{path} has no metadata.yaml, so it is not a complete bag; {hint}")
    elif path.suffix not in {".mcap", ".db3"}:
        raise ReplayError(f"{path} is not a rosbag2 bag; give a folder with metadata.yaml, or an .mcap or .db3 file")
    elif path.stat().st_size == 0:
        raise ReplayError(f"{path} is empty (0 bytes); copy or record it again")


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    return text or type(error).__name__


def _listed(topics: dict[str, str]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in sorted(topics.items())) or "no topics at all"
