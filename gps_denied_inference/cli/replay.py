"""`gdi replay`: a recorded bag through the pipeline, offline or over DDS."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gps_denied_inference.cli.console import note, progress, say, say_json, table
from gps_denied_inference.cli.engine_options import add_engine_options, settings_from_options
from gps_denied_inference.cli.replay_report import live_report, offline_report, write_json
from gps_denied_inference.core.assembly import assemble_pipeline
from gps_denied_inference.core.errors import ReplayError, RuntimeNotAvailableError
from gps_denied_inference.core.replay import (
    BagFormat,
    BagReader,
    BagWriter,
    ImageTopic,
    OfflineReplay,
    output_topics,
)

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "replay",
        help="replay a recorded bag",
        description="Offline (the default) takes every frame through the pipeline in this process, without ROS and "
        "deterministically. Live publishes the images on DDS, with /clock, to an inference node that runs elsewhere "
        "(the engine options are then the node's own).",
    )
    parser.add_argument("bag", type=Path, help="rosbag2 folder, or an .mcap or .db3 file")
    parser.add_argument("--mode", choices=["offline", "live"], default="offline")
    parser.add_argument("--topic", help="of the images; needed when the bag has several")
    parser.add_argument("--output", type=Path, help="bag to write our messages to (a new folder)")
    parser.add_argument("--storage", choices=[item.value for item in BagFormat], default="mcap", help="of the output")
    parser.add_argument("--report", type=Path, help="JSON report to write")
    parser.add_argument("--json", action="store_true", help="the report on stdout, one JSON object")
    live = parser.add_argument_group("live mode")
    live.add_argument("--rate", type=_positive_float, default=1.0, help="1.0 is the pace of the recording")
    live.add_argument("--loop", type=_positive_int, default=1, metavar="N", help="play the bag N times")
    live.add_argument("--namespace", default="", help="of the inference node")
    live.add_argument("--image-topic", default="", help="publish here instead of NAMESPACE/image[/compressed]")
    add_engine_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Replay. Returns 1 when the bag broke before its end."""
    for path in (options.output, options.report):
        if path is not None and not path.parent.exists():
            raise ReplayError(f"the folder {path.parent} does not exist; create it or give another place")
    with BagReader(options.bag) as reader:
        topic = reader.choose_image_topic(options.topic)
        interruption = (_run_live if options.mode == "live" else _run_offline)(options, reader, topic)
    if not interruption:
        return 0
    complaint = f"{interruption}; what came before is kept"
    if not options.json:
        raise ReplayError(complaint)
    note(f"gdi replay: {complaint}")  # the report is on stdout already, and says it, too
    return 1


def _run_offline(options: argparse.Namespace, reader: BagReader, topic: ImageTopic) -> str:
    with assemble_pipeline(settings_from_options(options)) as pipeline:
        writer = None
        if options.output is not None:
            topics = output_topics(pipeline.model.spec.output_kind)
            writer = BagWriter(options.output, topics, storage=BagFormat(options.storage))
        try:
            with progress(f"replaying {topic.name}", topic.count) as show:
                report = OfflineReplay(
                    reader, topic, pipeline, writer=writer, on_frame=lambda frame: show(frame.index + 1)
                ).run()
        finally:
            if writer is not None:
                writer.close()
    document = offline_report(options.bag, report)
    if options.report is not None:
        write_json(options.report, document)
    if options.json:
        say_json(document)
        return report.interruption
    say(
        table(
            [
                ("frames", f"{len(report.frames)} of {topic.count}"),
                ("processed", str(report.published)),
                *((f"dropped, {reason.value}", str(count)) for reason, count in report.dropped.items() if count),
                ("model", f"{report.model.name} on {report.model.configuration.effective_device}"),
                ("features SHA-256", report.sha256),
                *_places(options),
            ]
        )
    )
    return report.interruption


def _run_live(options: argparse.Namespace, reader: BagReader, topic: ImageTopic) -> str:
    try:
        from gps_denied_inference.ros.live_replay import LiveReplayOptions, replay_live
    except ImportError as error:
        raise RuntimeNotAvailableError(
            f"live replay needs ROS 2 and the built package ({error}); run 'make setup' and '. ./env.sh', or source a "
            "workspace that holds it"
        ) from error
    live_options = LiveReplayOptions(
        rate=options.rate,
        loops=options.loop,
        namespace=options.namespace,
        image_topic=options.image_topic,
        output=options.output,
        storage=BagFormat(options.storage),
    )
    with progress(f"playing {topic.name}", topic.count * options.loop) as show:
        report = replay_live(reader, topic, live_options, on_frame=show)
    document = live_report(options.bag, topic, report)
    if options.report is not None:
        write_json(options.report, document)
    if options.json:
        say_json(document)
        return report.interruption
    latency, accounting = document["latency_ms"], document["frames_dropped"]
    say(
        table(
            [
                ("images sent", f"{len(report.sent)} to {report.image_topic}"),
                ("answers", str(len(report.received))),
                *((f"dropped, {reason}", str(count)) for reason, count in accounting.items() if count),
                ("lost in transport", str(document["frames_lost_in_transport"])),
                ("latency p50/p95/p99", "{p50:.1f} / {p95:.1f} / {p99:.1f} ms".format(**latency)),
                *_places(options),
            ]
        )
    )
    return report.interruption


def _places(options: argparse.Namespace) -> list[tuple[str, str]]:
    places = [("output bag", options.output), ("report", options.report)]
    return [(name, str(path)) for name, path in places if path is not None]


def _positive_float(text: str) -> float:
    value = float(text)
    if not 0 < value < 1000:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and below 1000")
    return value


def _positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value
