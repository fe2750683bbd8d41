"""Recorded bags in, features out, without DDS."""

from gps_denied_inference.core.replay.bag_reader import BagImage, BagReader, ImageTopic
from gps_denied_inference.core.replay.bag_writer import BagFormat, BagTopic, BagWriter, Compression, TopicQos
from gps_denied_inference.core.replay.offline import (
    OfflineReplay,
    OfflineReport,
    ReplayedFrame,
    features_sha256,
    output_topics,
)

__all__ = [
    "BagFormat",
    "BagImage",
    "BagReader",
    "BagTopic",
    "BagWriter",
    "Compression",
    "ImageTopic",
    "OfflineReplay",
    "OfflineReport",
    "ReplayedFrame",
    "TopicQos",
    "features_sha256",
    "output_topics",
]
