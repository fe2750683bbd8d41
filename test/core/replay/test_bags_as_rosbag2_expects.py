"""Bags against what rosbag2 0.26 (Jazzy) writes and reads.

Facts of its sources: `rosbag2_storage/yaml.hpp` and `qos.cpp` (metadata version 9), `sqlite_storage.cpp` (schema
version 4), and the MCAP specification's profile `ros2`.
"""

import json
import shutil
import sqlite3
import struct
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from bags import write_image_bag

from gps_denied_inference.core.interface import RosbagsMessageFactory
from gps_denied_inference.core.replay import BagFormat, BagTopic, BagWriter, Compression, TopicQos

_DESCRIPTOR = "gps_denied_inference/msg/GlobalDescriptor"
_INFO = "gps_denied_inference/msg/ModelInfo"
_INFINITE = {"sec": 9223372036, "nsec": 854775807}


def _bag(path: Path, storage: BagFormat) -> Path:
    """Write one descriptor at 5 s, another at 7 s, and an empty latched topic."""
    topics = [
        BagTopic("/global_descriptor", _DESCRIPTOR, TopicQos(depth=7, is_reliable=False)),
        BagTopic("/model_info", _INFO, TopicQos(depth=1, is_latched=True)),
    ]
    with BagWriter(path, topics, storage=storage) as bag:
        for second in (5, 7):
            bag.write("/global_descriptor", second * 10**9, b"\x00\x01\x00\x00" + bytes(8))
    return path


def _metadata(path: Path) -> Any:
    return yaml.safe_load((path / "metadata.yaml").read_text())["rosbag2_bagfile_information"]


@pytest.mark.parametrize("storage", list(BagFormat))
def test_metadata_has_every_field_of_version_9(tmp_path: Path, storage: BagFormat) -> None:
    metadata = _metadata(_bag(tmp_path / "bag", storage))
    topics = metadata.pop("topics_with_message_count")
    file_name = {BagFormat.MCAP: "bag.mcap", BagFormat.SQLITE3: "bag.db3"}[storage]
    time = {"duration": {"nanoseconds": 2 * 10**9}, "starting_time": {"nanoseconds_since_epoch": 5 * 10**9}}
    assert metadata == {
        "version": 9,
        "storage_identifier": storage.value,
        **time,
        "message_count": 2,
        "compression_format": "",
        "compression_mode": "",
        "relative_file_paths": [file_name],
        "files": [{"path": file_name, **time, "message_count": 2}],
        "custom_data": None,
        "ros_distro": "jazzy",
    }
    assert {topic["topic_metadata"]["name"]: topic["message_count"] for topic in topics} == {
        "/global_descriptor": 2,
        "/model_info": 0,
    }


@pytest.mark.parametrize("storage", list(BagFormat))
def test_metadata_spells_the_offered_qos_as_rmw_does(tmp_path: Path, storage: BagFormat) -> None:
    topics = [
        topic["topic_metadata"] for topic in _metadata(_bag(tmp_path / "bag", storage))["topics_with_message_count"]
    ]
    qos = {topic["name"]: topic["offered_qos_profiles"] for topic in topics}
    common = {
        "history": "keep_last",
        "deadline": _INFINITE,
        "lifespan": _INFINITE,
        "liveliness": "automatic",
        "liveliness_lease_duration": _INFINITE,
        "avoid_ros_namespace_conventions": False,
    }
    assert qos == {
        "/global_descriptor": [{**common, "depth": 7, "reliability": "best_effort", "durability": "volatile"}],
        "/model_info": [{**common, "depth": 1, "reliability": "reliable", "durability": "transient_local"}],
    }


@pytest.mark.parametrize(
    ("compression", "words"), [(Compression.FILE, ("zstd", "file")), (Compression.MESSAGE, ("zstd", "message"))]
)
def test_metadata_names_the_compression(tmp_path: Path, compression: Compression, words: tuple[str, str]) -> None:
    metadata = _metadata(write_image_bag(tmp_path / "bag", compression=compression, storage=BagFormat.SQLITE3))
    assert (metadata["compression_format"], metadata["compression_mode"].lower()) == words
    assert [(tmp_path / "bag" / name).is_file() for name in metadata["relative_file_paths"]] == [True]


def test_sqlite_tables_are_those_of_schema_4(tmp_path: Path) -> None:
    path = _bag(tmp_path / "bag", BagFormat.SQLITE3)
    with closing(sqlite3.connect(path / "bag.db3")) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {
            name: [(column, kind) for _, column, kind, *_ in database.execute(f"PRAGMA table_info({name})")]
            for name in tables
        }
        version = database.execute("SELECT schema_version FROM schema").fetchall()
        topics = database.execute("SELECT id, name, type, serialization_format FROM topics ORDER BY id").fetchall()
        qos = [yaml.safe_load(text) for (text,) in database.execute("SELECT offered_qos_profiles FROM topics")]
        encodings = set(database.execute("SELECT topic_type, encoding FROM message_definitions"))
        messages = database.execute("SELECT topic_id, timestamp, data FROM messages ORDER BY timestamp").fetchall()
    identity = ("id", "INTEGER")
    assert columns == {
        "schema": [("schema_version", "INTEGER"), ("ros_distro", "TEXT")],
        "metadata": [identity, ("metadata_version", "INTEGER"), ("metadata", "TEXT")],
        "topics": [
            identity,
            ("name", "TEXT"),
            ("type", "TEXT"),
            ("serialization_format", "TEXT"),
            ("offered_qos_profiles", "TEXT"),
            ("type_description_hash", "TEXT"),
        ],
        "message_definitions": [
            identity,
            ("topic_type", "TEXT"),
            ("encoding", "TEXT"),
            ("encoded_message_definition", "TEXT"),
            ("type_description_hash", "TEXT"),
        ],
        "messages": [identity, ("topic_id", "INTEGER"), ("timestamp", "INTEGER"), ("data", "BLOB")],
    }
    assert version == [(4,)]
    assert topics == [(1, "/global_descriptor", _DESCRIPTOR, "cdr"), (2, "/model_info", _INFO, "cdr")]
    assert [profiles[0]["durability"] for profiles in qos] == ["volatile", "transient_local"]
    assert encodings == {(_DESCRIPTOR, "ros2msg"), (_INFO, "ros2msg")}
    assert messages == [(1, second * 10**9, b"\x00\x01\x00\x00" + bytes(8)) for second in (5, 7)]


def _string(data: bytes, offset: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<I", data, offset)
    return data[offset + 4 : offset + 4 + length].decode(), offset + 4 + length


def _mcap_records(path: Path) -> Iterator[tuple[int, bytes]]:
    """Opcode and content of each record outside of chunks; the summary repeats what chunks hold."""
    data = path.read_bytes()
    magic = b"\x89MCAP0\r\n"
    assert data.startswith(magic) and data.endswith(magic)
    offset = len(magic)
    while offset < len(data) - len(magic):
        opcode, length = struct.unpack_from("<BQ", data, offset)
        yield opcode, data[offset + 9 : offset + 9 + length]
        offset += 9 + length


def test_mcap_is_of_the_ros2_profile_with_cdr_messages_and_ros2msg_schemas(tmp_path: Path) -> None:
    header, schema, channel = 0x01, 0x03, 0x04
    records = list(_mcap_records(_bag(tmp_path / "bag", BagFormat.MCAP) / "bag.mcap"))
    assert records[0][0] == header and _string(records[0][1], 0)[0] == "ros2"
    schemas = {}
    for opcode, content in records:
        if opcode == schema:
            name, offset = _string(content, 2)
            encoding, offset = _string(content, offset)
            schemas[name] = (encoding, _string(content, offset)[0])
    assert {name: encoding for name, (encoding, _) in schemas.items()} == {_DESCRIPTOR: "ros2msg", _INFO: "ros2msg"}
    text = schemas[_DESCRIPTOR][1]
    assert {"MSG: std_msgs/Header", "MSG: gps_denied_inference/StageTimings"} <= set(text.splitlines())
    channels = {}
    for opcode, content in records:
        if opcode == channel:
            topic, offset = _string(content, 4)
            encoding, offset = _string(content, offset)
            channels[topic] = (encoding, content[offset:])
    assert {topic: encoding for topic, (encoding, _) in channels.items()} == {
        "/global_descriptor": "cdr",
        "/model_info": "cdr",
    }
    assert all(b"offered_qos_profiles" in user_data for _, user_data in channels.values())


def _type_descriptions() -> dict[str, str]:
    """The hash of each of our messages as rosidl wrote it where the package is built, else empty."""
    try:
        from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
    except ImportError:
        return {}
    try:
        folder = Path(get_package_share_directory("gps_denied_inference")) / "msg"
    except PackageNotFoundError:
        return {}
    hashes = {}
    for path in folder.glob("*.json"):
        for item in json.loads(path.read_text())["type_hashes"]:
            hashes[item["type_name"]] = item["hash_string"]
    return hashes


@pytest.mark.parametrize("storage", list(BagFormat))
def test_bag_names_the_type_hash_of_each_topic(tmp_path: Path, storage: BagFormat) -> None:
    topics = _metadata(_bag(tmp_path / "bag", storage))["topics_with_message_count"]
    written = {item["topic_metadata"]["type"]: item["topic_metadata"]["type_description_hash"] for item in topics}
    typestore = RosbagsMessageFactory().typestore
    assert written == {name: typestore.hash_rihs01(name) for name in (_DESCRIPTOR, _INFO)}
    assert all(value.startswith("RIHS01_") and len(bytes.fromhex(value[7:])) == 32 for value in written.values())


def test_type_hash_of_an_image_is_the_one_of_ros(tmp_path: Path) -> None:
    topics = _metadata(write_image_bag(tmp_path / "bag"))["topics_with_message_count"]
    # share/sensor_msgs/msg/CompressedImage.json of Jazzy's sensor_msgs
    assert topics[0]["topic_metadata"]["type_description_hash"] == (
        "RIHS01_15640771531571185e2efc8a100baf923961a4d15d5569652e6cb6691e8e371a"
    )


@pytest.mark.parametrize("message_type", [_DESCRIPTOR, _INFO])
def test_type_hash_of_our_messages_is_the_one_that_rosidl_made(message_type: str) -> None:
    made = _type_descriptions()
    if message_type not in made:
        pytest.skip("this build of the package has no type descriptions (share/gps_denied_inference/msg/*.json)")
    assert RosbagsMessageFactory().typestore.hash_rihs01(message_type) == made[message_type]


@pytest.mark.parametrize("storage", list(BagFormat))
def test_ros2_bag_info_reads_our_bags(tmp_path: Path, storage: BagFormat) -> None:
    command = shutil.which("ros2")
    if command is None:
        pytest.skip("there is no command 'ros2' here")
    if subprocess.run([command, "bag", "--help"], capture_output=True, timeout=60).returncode != 0:
        pytest.skip("'ros2 bag' is not installed (ros-jazzy-rosbag2)")
    path = _bag(tmp_path / "bag", storage)
    done = subprocess.run([command, "bag", "info", str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "/global_descriptor" in done.stdout and "Count: 2" in done.stdout
