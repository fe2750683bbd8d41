"""Writing rosbag2 bags that `ros2 bag` and rosbags read, without ROS."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gps_denied_inference.core.errors import ReplayError
from gps_denied_inference.core.interface import RosbagsMessageFactory
from gps_denied_inference.core.optional import require

__all__ = ["BagFormat", "BagTopic", "BagWriter", "Compression", "TopicQos"]

_METADATA_VERSION = 9  # Jazzy's


class BagFormat(Enum):
    """Storage plugins of rosbag2."""

    MCAP = "mcap"
    SQLITE3 = "sqlite3"


class Compression(Enum):
    """What zstd is applied to."""

    NONE = "none"
    FILE = "file"
    MESSAGE = "message"


@dataclass(frozen=True, slots=True)
class TopicQos:
    """How the topic was offered, so that `ros2 bag play` offers it alike.

    Attributes:
        depth: of the history.
        is_reliable: else best effort.
        is_latched: transient local, else volatile.
    """

    depth: int = 10
    is_reliable: bool = True
    is_latched: bool = False


@dataclass(frozen=True, slots=True)
class BagTopic:
    """A topic to write.

    Attributes:
        name: e.g. `/global_descriptor`.
        message_type: e.g. `gps_denied_inference/msg/GlobalDescriptor`.
        qos: recorded with it.
    """

    name: str
    message_type: str
    qos: TopicQos = TopicQos()


class BagWriter:
    """A new bag. A context manager: leaving it, even by an error, closes the bag so that what was written can be read.

    Args:
        path: folder to create; must not exist.
        topics: what will be written.
        storage: file format.
        compression: what is compressed.

    Raises:
        ReplayError: the folder exists or cannot be created, or a message type is unknown.
        RuntimeNotAvailableError: rosbags is not installed.
    """

    def __init__(
        self,
        path: Path,
        topics: Sequence[BagTopic],
        *,
        storage: BagFormat = BagFormat.MCAP,
        compression: Compression = Compression.NONE,
    ) -> None:
        self.path = path
        if path.exists():
            raise ReplayError(f"{path} exists already; remove it or give another --output")
        rosbag2 = require("rosbags.rosbag2", install="pip install rosbags", purpose="writing bags")
        interfaces = require("rosbags.interfaces", install="pip install rosbags", purpose="writing bags")
        self.factory = RosbagsMessageFactory()
        self._writer: Any = rosbag2.Writer(
            path, version=_METADATA_VERSION, storage_plugin=rosbag2.StoragePlugin[storage.name]
        )
        self._writer.set_compression(rosbag2.CompressionMode[compression.name], rosbag2.CompressionFormat.ZSTD)
        try:
            self._writer.open()
        except Exception as error:
            raise ReplayError(f"cannot create the bag {path}: {error}") from error
        self._connections: dict[str, Any] = {}
        try:
            for topic in topics:
                self._connections[topic.name] = self._writer.add_connection(
                    topic.name,
                    topic.message_type,
                    typestore=self.factory.typestore,
                    offered_qos_profiles=[_qos(interfaces, topic.qos)],
                )
        except Exception as error:
            self._writer.abort()
            raise ReplayError(f"cannot write {topics} to the bag {path}: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, topic: str, recorded_ns: int, message: Any) -> None:
        """Append a message made by `factory`, or one already serialised (bytes, encapsulation header included).

        Raises:
            ReplayError: the topic was not announced, the message is not of its type, or the disk is full.
        """
        connection = self._connections.get(topic)
        if connection is None:
            raise ReplayError(f"the bag {self.path} has no topic {topic}, only {', '.join(sorted(self._connections))}")
        try:
            serialised = (
                message
                if isinstance(message, bytes)
                else bytes(self.factory.typestore.serialize_cdr(message, connection.msgtype))
            )
            self._writer.write(connection, recorded_ns, serialised)
        except Exception as error:
            raise ReplayError(f"cannot write to {topic} of the bag {self.path}: {error}") from error

    def close(self) -> None:
        """Write the index and the metadata. Idempotent.

        Raises:
            ReplayError: the disk is full.
        """
        if self._writer.storage is None:
            return
        try:
            self._writer.close()
            metadata = self.path / "metadata.yaml"
            # rosbags signs with its own name where rosbag2 expects a distribution.
            text = metadata.read_text(encoding="utf-8")
            metadata.write_text(re.sub(r"(?m)^(\s*ros_distro:).*$", r"\1 jazzy", text), encoding="utf-8")
        except Exception as error:
            raise ReplayError(f"cannot finish the bag {self.path}: {error}") from error


def _qos(interfaces: Any, qos: TopicQos) -> Any:
    infinite = interfaces.QosTime(9223372036, 854775807)
    return interfaces.Qos(
        history=interfaces.QosHistory.KEEP_LAST,
        depth=qos.depth,
        reliability=interfaces.QosReliability.RELIABLE if qos.is_reliable else interfaces.QosReliability.BEST_EFFORT,
        durability=interfaces.QosDurability.TRANSIENT_LOCAL if qos.is_latched else interfaces.QosDurability.VOLATILE,
        deadline=infinite,
        lifespan=infinite,
        liveliness=interfaces.QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=infinite,
        avoid_ros_namespace_conventions=False,
    )
