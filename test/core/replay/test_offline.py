"""Offline replay: deterministic, exact, and not stopped by a broken frame."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from bags import without_last_images, write_image_bag

from gps_denied_inference.core.assembly import assemble_pipeline
from gps_denied_inference.core.contracts import DropReason, GlobalDescriptor, OutputKind
from gps_denied_inference.core.errors import ReplayError
from gps_denied_inference.core.interface import global_descriptor_from_message, stamp_ns_from_message
from gps_denied_inference.core.pipeline import Pipeline
from gps_denied_inference.core.replay import (
    BagFormat,
    BagReader,
    BagWriter,
    OfflineReplay,
    OfflineReport,
    features_sha256,
    output_topics,
)
from gps_denied_inference.core.settings import settings_from_mapping


def fake_pipeline(folder: Path, script: str = "latency_ms: 0") -> Pipeline:
    path = folder / "script.yaml"
    path.write_text(script)
    settings = {"allow_ungated": True, "primary.runtime": "fake", "primary.checkpoint": str(path)}
    return assemble_pipeline(settings_from_mapping(settings))


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    with fake_pipeline(tmp_path) as pipeline:
        yield pipeline


def replay(bag: Path, pipeline: Pipeline, writer: BagWriter | None = None) -> OfflineReport:
    with BagReader(bag) as reader:
        return OfflineReplay(reader, reader.choose_image_topic(), pipeline, writer=writer).run()


def test_two_runs_give_the_same_hashes_and_frames_differ(tmp_path: Path, pipeline: Pipeline) -> None:
    bag = write_image_bag(tmp_path / "bag")
    first, second = replay(bag, pipeline), replay(bag, pipeline)
    hashes = [frame.sha256 for frame in first.frames]
    assert hashes == [frame.sha256 for frame in second.frames] and first.sha256 == second.sha256
    assert len(set(hashes)) == 6 and None not in hashes


@pytest.mark.parametrize("storage", list(BagFormat))
def test_output_bag_holds_what_the_pipeline_made(tmp_path: Path, pipeline: Pipeline, storage: BagFormat) -> None:
    bag = write_image_bag(tmp_path / "bag")
    topics = output_topics(OutputKind.GLOBAL_DESCRIPTOR)
    with BagWriter(tmp_path / "out", topics, storage=storage) as writer:
        report = replay(bag, pipeline, writer)
    with BagReader(tmp_path / "out") as reader:
        messages = [reader.decode(cdr, kind) for _, kind, cdr in reader.messages("/global_descriptor")]
        infos = [reader.decode(cdr, kind) for _, kind, cdr in reader.messages("/model_info")]
    assert [stamp_ns_from_message(message) for message in messages] == [frame.stamp_ns for frame in report.frames]
    assert [features_sha256(global_descriptor_from_message(message)) for message in messages] == [
        frame.sha256 for frame in report.frames
    ]
    assert len(infos) == 1 and infos[0].space_id == messages[0].space_id == pipeline.model.space_id


def test_broken_frame_is_counted_and_the_others_go_on(tmp_path: Path, pipeline: Pipeline) -> None:
    bag = write_image_bag(tmp_path / "bag", broken_jpeg=2)
    with BagWriter(tmp_path / "out", output_topics(OutputKind.GLOBAL_DESCRIPTOR)) as writer:
        report = replay(bag, pipeline, writer)
    assert (len(report.frames), report.published) == (6, 5)
    assert report.dropped[DropReason.UNDECODABLE] == 1 and sum(report.dropped.values()) == 1
    assert report.frames[2].drop_reason is DropReason.UNDECODABLE and report.frames[2].sha256 is None
    with BagReader(tmp_path / "out") as reader:
        drops = [
            [(entry.reason, entry.count) for entry in reader.decode(cdr, kind).dropped_since_last]
            for _, kind, cdr in reader.messages("/global_descriptor")
        ]
    assert drops == [[], [], [("undecodable", 1)], [], []]


def test_faults_of_the_network_are_counted_by_their_reason(tmp_path: Path) -> None:
    script = "faults: [{frame: 1, kind: nan}, {frame: 2, kind: out_of_memory}, {frame: 3, kind: inference_error}]"
    with fake_pipeline(tmp_path, script) as pipeline:
        report = replay(write_image_bag(tmp_path / "bag"), pipeline)
    reasons = [frame.drop_reason for frame in report.frames]
    assert reasons == [None, DropReason.NOT_FINITE, DropReason.FAILED, DropReason.FAILED, None, None]
    assert report.published == 3


def damaged_in_the_middle(tmp_path: Path, storage: BagFormat) -> Path:
    """A bag with a sound index and a hole in its third quarter."""
    bag = write_image_bag(tmp_path / "bag", frames=60, storage=storage, side_px=220)
    file = next(bag.glob("bag.*"))
    content = bytearray(file.read_bytes())
    start = len(content) * 6 // 10
    # In mcap wider than an image; in SQLite no wider than overflow pages, lest the tables themselves are hit.
    width = 150_000 if storage is BagFormat.MCAP else 30_000
    content[start : start + width] = b"\xa5" * width
    file.write_bytes(content)
    return bag


@pytest.mark.parametrize("storage", list(BagFormat))
def test_bag_that_breaks_in_the_middle_keeps_what_came_before(
    tmp_path: Path, pipeline: Pipeline, storage: BagFormat
) -> None:
    bag = damaged_in_the_middle(tmp_path, storage)
    with BagWriter(tmp_path / "out", output_topics(OutputKind.GLOBAL_DESCRIPTOR)) as writer:
        report = replay(bag, pipeline, writer)
    assert report.interruption
    assert 0 < report.published < 60
    with BagReader(tmp_path / "out") as reader:
        assert len(list(reader.messages("/global_descriptor"))) == report.published


def test_reader_that_breaks_ends_the_replay_with_its_reason(
    tmp_path: Path, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = BagReader.images

    def breaking(reader: BagReader, topic: object) -> Iterator[object]:
        for index, image in enumerate(whole(reader, topic)):  # type: ignore[arg-type]
            if index == 4:
                raise ReplayError("damaged after message 4")
            yield image

    monkeypatch.setattr(BagReader, "images", breaking)
    report = replay(write_image_bag(tmp_path / "bag"), pipeline)
    assert (report.published, report.interruption) == (4, "damaged after message 4")


def test_hash_covers_shape_and_every_element() -> None:
    values = np.arange(4, dtype=np.float32)
    changed = values.copy()
    changed[3] = np.nextafter(changed[3], np.float32(9))
    hashes = {features_sha256(GlobalDescriptor(array)) for array in (values, changed, values[:3])}
    assert len(hashes) == 3
    assert features_sha256(GlobalDescriptor(values.copy())) in hashes


def test_bag_that_ends_before_its_last_image_is_an_interruption(tmp_path: Path, pipeline: Pipeline) -> None:
    report = replay(without_last_images(write_image_bag(tmp_path / "bag", storage=BagFormat.SQLITE3), kept=4), pipeline)
    assert "announces 6 images of /camera/image/compressed but only 4 can be read" in report.interruption
    assert report.published == 4
