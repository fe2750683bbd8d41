"""The health message, there and back: every field, so that no two of them can be exchanged."""

import math

from engine_health_reports import EXPECTED, MODEL, REPORT, plain_fields

from gps_denied_inference.core.contracts import DropReason
from gps_denied_inference.core.interface import EngineHealthReport, RosbagsMessageFactory, engine_health_message
from gps_denied_inference.core.pipeline import FrameCounts, LatencySummary

_STAMP_NS = 1_466_699_519_123_456_789
_NAN = float("nan")


def test_every_field_carries_its_own_value() -> None:
    factory = RosbagsMessageFactory()
    sent = engine_health_message(factory, REPORT, MODEL, stamp_ns=_STAMP_NS)
    kind = sent.__msgtype__
    received = factory.typestore.deserialize_cdr(factory.typestore.serialize_cdr(sent, kind), kind)
    names = [name for name in sent.__dataclass_fields__ if name != "__msgtype__" and not name.isupper()]
    fields = plain_fields(received, names)
    assert list(fields.items()) == list(EXPECTED.items())
    texts_and_numbers = [value for value in EXPECTED.values() if not isinstance(value, list | dict | bool)]
    assert len(set(texts_and_numbers)) == len(texts_and_numbers), "two fields of the same value could be exchanged"


def test_node_without_an_engine_a_camera_or_a_reading_says_that_it_knows_nothing() -> None:
    counts = FrameCounts(0, 0, dict.fromkeys(DropReason, 0), 0)
    report = EngineHealthReport(0, "", "unconfigured", counts, LatencySummary(0, _NAN, _NAN, _NAN, _NAN), "")
    message = engine_health_message(RosbagsMessageFactory(), report, None, stamp_ns=_STAMP_NS)
    assert (message.engine, message.space_id, message.input_encoding, message.engine_changes) == ("", "", "", [])
    assert message.gpu_used_bytes == -1
    for unknown in (
        message.input_seconds_since_last,
        message.input_rate_hz,
        message.memory_used_share,
        message.fidelity_min_cosine,
        message.stages_max.infer_ms,
    ):
        assert math.isnan(unknown)
