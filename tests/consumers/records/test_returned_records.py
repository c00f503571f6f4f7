"""Reports of losses and estimates as bytes: what is read, and what is refused and why."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.records import RecordError
from consumers.records.estimates import EstimateRecord
from consumers.records.feedback import FeedbackError, FeedbackRecord

REPORT = {"window": "e/0/5", "source": "e/0/7", "loss": 1.5, "model_version": "m1"}
ESTIMATE = EstimateRecord(
    window="e/0/5", model_version="m1", valid=300, emitted=3, s=3.0, missing=0, total=42.0,
    standard_error=2.0, low=-1.0, high=45.9, uniform_ratio=0.3, uniform_ratio_se=0.1, anticipated_se=None,
    bound=None, estimated_ms=1,
)  # fmt: skip


def report(**changed: object) -> bytes:
    return orjson.dumps(REPORT | changed)


def test_a_report_is_read() -> None:
    assert FeedbackRecord.decode(report()) == FeedbackRecord("e/0/5", "e/0/7", 1.5, "m1")
    assert FeedbackRecord.decode(report(loss=3)).loss == 3.0
    assert FeedbackRecord.decode(report(loss=0)).loss == 0.0
    assert FeedbackRecord.decode(report(loss=None)).loss is None
    assert FeedbackRecord.decode(report(source="e/0/7/12", trained_at="today")).source == "e/0/7/12"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (report(loss=-1e-9), "negative"),
        (report(loss=-0.5), "negative"),
        (report(loss=1.1e100), "huge"),
        (b'{"window": "e/0/5", "source": "e/0/7", "loss": NaN, "model_version": "m"}', "nan"),
        (b'{"window": "e/0/5", "source": "e/0/7", "loss": -Infinity, "model_version": "m"}', "negative"),
        (b'{"window": "e/0/5", "source": "e/0/7", "loss": 1e999, "model_version": "m"}', "huge"),
        (report(loss="1"), "damaged"),
        (report(loss=True), "damaged"),
        (report(loss=[1]), "damaged"),
        (report(window=""), "damaged"),
        (report(window="x" * 321), "damaged"),
        (report(window=5), "damaged"),
        (report(source="e/0"), "damaged"),
        (report(source="e/0/-7"), "damaged"),
        (report(source="e" * 341), "damaged"),
        (report(model_version=""), "damaged"),
        (report(model_version=None), "damaged"),
        (report(model_version="m" * 201), "damaged"),
        (report(more="x" * 10_000), "damaged"),
        (orjson.dumps({k: v for k, v in REPORT.items() if k != "loss"}), "damaged"),
        (b"[" * 5000, "damaged"),
        (b"\xff", "damaged"),
        (b"", "damaged"),
        (None, "damaged"),
    ],
)
def test_what_cannot_be_used_is_refused_for_a_reason(value: bytes | None, reason: str) -> None:
    with pytest.raises(FeedbackError) as refused:
        FeedbackRecord.decode(value)
    assert refused.value.reason == reason


@given(st.binary(max_size=300))
def test_nothing_but_refusals_comes_of_any_bytes(value: bytes) -> None:
    for decode in (FeedbackRecord.decode, EstimateRecord.decode):
        with pytest.raises(RecordError):
            decode(value)


def test_an_estimate_comes_back_as_it_was() -> None:
    nothing = {"total", "standard_error", "low", "high", "uniform_ratio", "uniform_ratio_se", "model_version"}
    for record in (ESTIMATE, replace(ESTIMATE, missing=2, **dict.fromkeys(nothing))):
        assert EstimateRecord.decode(record.encode()) == record
        assert record.key == b"e/0/5"


@pytest.mark.parametrize(
    "changed",
    [
        {"total": -1.0}, {"missing": -1}, {"window": ""}, {"model_version": ""}, {"standard_error": -1.0},
        {"estimated_ms": -1},
    ],
)  # fmt: skip
def test_an_estimate_that_cannot_be_is_not_written(changed: dict[str, object]) -> None:
    record = replace(ESTIMATE, **changed)
    with pytest.raises(RecordError):
        record.encode()


@pytest.mark.parametrize("value", [b"", None, b"{}", b'{"format": 2}', ESTIMATE.encode() + b" " * 10_000])
def test_what_is_no_estimate_is_refused(value: bytes | None) -> None:
    with pytest.raises(RecordError):
        EstimateRecord.decode(value)
