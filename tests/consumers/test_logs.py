from __future__ import annotations

import io
import json
import logging

import structlog

from consumers.logs import configure_logs
from consumers.sections import Monitoring


def entries(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_json_carries_the_context_and_the_values() -> None:
    out = io.StringIO()
    configure_logs(Monitoring(log_format="json"), out, role="sampler", instance="0")
    structlog.get_logger("x").info("window committed", examples=5)
    (entry,) = entries(out)
    assert entry.pop("timestamp")
    assert entry == {
        "role": "sampler", "instance": "0", "event": "window committed", "examples": 5,
        "level": "info", "logger": "x",
    }  # fmt: skip


def test_loggers_of_the_standard_library_look_the_same() -> None:
    out = io.StringIO()
    configure_logs(Monitoring(log_format="json"), out)
    logging.getLogger("kafka.conn").warning("no answer from %s", "a")
    logging.getLogger("kafka.conn").info("chatter")
    (entry,) = entries(out)
    assert (entry["event"], entry["level"], entry["logger"]) == ("no answer from a", "warning", "kafka.conn")


def test_a_library_does_not_repeat_itself() -> None:
    out = io.StringIO()
    configure_logs(Monitoring(log_format="json"), out)
    for attempt in range(5):
        logging.getLogger("kafka.net").error("attempt %d failed", attempt)
        structlog.get_logger("consumers").info("ours", attempt=attempt)
    assert [entry["logger"] for entry in entries(out)] == ["kafka.net"] + 5 * ["consumers"]


def test_libraries_can_be_silent() -> None:
    out = io.StringIO()
    configure_logs(Monitoring(log_format="json"), out, libraries=False)
    logging.getLogger("kafka.net").error("failed")
    structlog.get_logger("consumers").info("ours")
    assert [entry["event"] for entry in entries(out)] == ["ours"]


def test_a_traceback_is_one_json_entry() -> None:
    out = io.StringIO()
    configure_logs(Monitoring(log_format="json"), out)
    try:
        raise ValueError("why")
    except ValueError:
        structlog.get_logger().exception("ended")
    (entry,) = entries(out)
    assert "ValueError: why" in str(entry["exception"])


def test_text_is_for_people_and_set_up_again_it_does_not_double() -> None:
    out = io.StringIO()
    configure_logs(Monitoring(), io.StringIO())
    configure_logs(Monitoring(log_level="warning"), out)
    structlog.get_logger().info("hidden")
    structlog.get_logger().warning("shown", topic="a")
    assert len(out.getvalue().splitlines()) == 1
    assert "shown" in out.getvalue()
    assert "topic=a" in out.getvalue()
    assert "\x1b" not in out.getvalue()
