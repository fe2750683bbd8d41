"""Bags, whole and really damaged."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bags import IMAGE_TYPE, write_image_bag

from gps_denied_inference.core.contracts import CompressedFrame
from gps_denied_inference.core.errors import ReplayError
from gps_denied_inference.core.replay import BagFormat, BagReader, BagTopic, BagWriter, Compression, TopicQos


def images_of(path: Path) -> list[CompressedFrame]:
    with BagReader(path) as reader:
        frames = [reader.frame(image) for image in reader.images(reader.choose_image_topic())]
    assert all(isinstance(frame, CompressedFrame) for frame in frames)
    return [frame for frame in frames if isinstance(frame, CompressedFrame)]


@pytest.mark.parametrize("storage", list(BagFormat))
@pytest.mark.parametrize("compression", list(Compression))
def test_what_is_written_is_read(tmp_path: Path, storage: BagFormat, compression: Compression) -> None:
    path = write_image_bag(tmp_path / "bag", storage=storage, compression=compression)
    frames = images_of(path)
    assert [frame.stamp_ns for frame in frames] == [1_000_000_000 + index * 100_000_000 for index in range(6)]
    assert {(frame.frame_id, frame.format) for frame in frames} == {("camera", "jpeg")}
    assert all(frame.data.tobytes().startswith(b"\xff\xd8") for frame in frames)


def test_bag_names_a_distribution_and_the_offered_qos(tmp_path: Path) -> None:
    topic = BagTopic("/latched", "gps_denied_inference/msg/ModelInfo", TopicQos(depth=1, is_latched=True))
    with BagWriter(tmp_path / "bag", [topic]):
        pass
    text = (tmp_path / "bag" / "metadata.yaml").read_text()
    assert "ros_distro: jazzy" in text and "durability: transient_local" in text
    assert "type: gps_denied_inference/msg/ModelInfo" in text and "storage_identifier: mcap" in text


def test_single_storage_file_is_a_bag_too(tmp_path: Path) -> None:
    path = write_image_bag(tmp_path / "bag")
    assert len(images_of(path / "bag.mcap")) == 6


def test_several_image_topics_are_listed_and_one_can_be_named(tmp_path: Path) -> None:
    path = write_image_bag(tmp_path / "bag", topics=("/left", "/right"))
    with BagReader(path) as reader:
        with pytest.raises(ReplayError, match=r"choose one with --topic: /left \(6\), /right \(6\)"):
            reader.choose_image_topic()
        assert reader.choose_image_topic("/right").name == "/right"
        with pytest.raises(ReplayError, match=r"no image topic '/up'; image topics: /left \(6\), /right \(6\)"):
            reader.choose_image_topic("/up")


def test_bag_without_images_tells_what_it_has(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag", [BagTopic("/pose", "geometry_msgs/msg/PoseStamped")]):
        pass
    with BagReader(tmp_path / "bag") as reader, pytest.raises(ReplayError, match=r"no images.*/pose \(geometry_msgs"):
        reader.choose_image_topic()


def test_image_topic_without_messages_counts_as_no_images(tmp_path: Path) -> None:
    with (
        BagReader(write_image_bag(tmp_path / "bag", frames=0)) as reader,
        pytest.raises(ReplayError, match="holds no images"),
    ):
        reader.choose_image_topic()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def scramble(path: Path) -> None:
    path.write_bytes(bytes(byte ^ 0x5A for byte in path.read_bytes()))


def delete(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("storage", list(BagFormat))
@pytest.mark.parametrize("damage", [truncate, empty, scramble, delete])
@pytest.mark.parametrize("part", ["storage", "metadata"])
def test_damaged_bag_ends_in_one_sentence_that_names_it(
    tmp_path: Path, storage: BagFormat, damage: Callable[[Path], None], part: str
) -> None:
    path = write_image_bag(tmp_path / "bag", storage=storage)
    damaged = path / "metadata.yaml" if part == "metadata" else next(path.glob("bag.*"))
    damage(damaged)
    with pytest.raises(ReplayError) as caught:
        images_of(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent", None, "there is no bag"),
        ("video.mp4", b"x", "not a rosbag2 bag"),
        ("zero.mcap", b"", "is empty"),
        ("text.mcap", b"hello, this is text", "cannot be read as a bag"),
        ("text.db3", b"hello, this is text", "cannot be read as a bag"),
    ],
)
def test_what_is_not_a_bag_is_refused(tmp_path: Path, name: str, content: bytes | None, words: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ReplayError, match=words):
        BagReader(path)


def test_folder_without_metadata_tells_what_can_be_given_instead(tmp_path: Path) -> None:
    path = write_image_bag(tmp_path / "bag")
    (path / "metadata.yaml").unlink()
    with pytest.raises(ReplayError, match=r"no metadata.yaml.*give the file itself \(bag.mcap\)"):
        BagReader(path)


def test_broken_message_is_told_from_a_broken_bag(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag", [BagTopic("/image", IMAGE_TYPE)]) as bag:
        bag.write("/image", 1, b"\x00\x01\x00\x00\x01\x02\x03")
    with BagReader(tmp_path / "bag") as reader:
        image = next(reader.images(reader.choose_image_topic()))
        with pytest.raises(ReplayError, match="holds a broken sensor_msgs/msg/CompressedImage"):
            reader.frame(image)


def test_existing_output_is_never_overwritten(tmp_path: Path) -> None:
    path = write_image_bag(tmp_path / "bag")
    before = (path / "bag.mcap").read_bytes()
    with pytest.raises(ReplayError, match="exists already"):
        BagWriter(path, [])
    assert (path / "bag.mcap").read_bytes() == before


def test_writer_refuses_unknown_types_and_topics(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="no_such_msgs"):
        BagWriter(tmp_path / "one", [BagTopic("/x", "no_such_msgs/msg/Thing")])
    with BagWriter(tmp_path / "two", [BagTopic("/x", IMAGE_TYPE)]) as bag, pytest.raises(ReplayError, match="only /x"):
        bag.write("/y", 0, b"")


def test_bag_left_by_an_error_can_be_read(tmp_path: Path) -> None:
    def write_and_fail() -> None:
        with BagWriter(tmp_path / "bag", [BagTopic("/image", IMAGE_TYPE)]) as bag:
            image = next(_cdr_images(tmp_path))
            bag.write("/image", 5, image)
            raise RuntimeError("something else broke")

    with pytest.raises(RuntimeError, match="something else"):
        write_and_fail()
    assert len(images_of(tmp_path / "bag")) == 1


def _cdr_images(tmp_path: Path) -> Iterator[bytes]:
    with BagReader(write_image_bag(tmp_path / "source")) as reader:
        for image in reader.images(reader.choose_image_topic()):
            yield image.cdr
