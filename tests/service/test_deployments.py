"""Deployments that come back, clash or lose their topic, as processes: in time, and with one sentence."""

from __future__ import annotations

import time

import pytest

pytestmark = pytest.mark.timeout(180)
RESTART_SECONDS = 10.0


def sentence(service, process, *words: str) -> None:
    """The process ends with code 1 in time, and its log with one sentence that says the words."""
    assert process.wait(40) == 1, service.logs()
    number = service.processes.index(process)
    (log,) = service.config.parent.glob(f"*-{number}.log")
    last = log.read_text().splitlines()[-1]
    assert last.startswith("stream-coreset: "), last
    assert all(word in last for word in words), last
    assert "Traceback" not in log.read_text()


def test_a_restart_has_its_first_window_in_time(make_service, make_stream):
    service = make_service()
    stream = make_stream(service)
    sampler = service.start("sampler")
    stream.send(1000)
    service.wait_processed(1)
    assert service.stop(sampler) == 0
    stream.send(1000)
    before, began = service.processed(), time.monotonic()
    service.start("sampler")
    service.wait("a window", lambda: service.processed() > before)
    assert time.monotonic() - began < RESTART_SECONDS


def test_another_stream_under_the_same_name_is_refused_in_both_roles(make_service, make_stream, make_topic):
    """Nothing is published yet: the committed offsets and the group say whose the name is."""
    service = make_service()
    stream = make_stream(service)
    first = service.start("sampler")
    stream.send(1000)
    service.wait_processed(1)
    other = f"--input.topic={make_topic(2)}"
    sampler = service.start("sampler", other)  # of the same instance
    clusterer = service.start("clusterer", other)
    sentence(service, sampler, "reads another stream", "give this one another `name`")
    sentence(service, clusterer, "belongs to another stream", "give this deployment another `name`")
    stream.send(1000)
    service.wait_processed(2000)
    assert first.poll() is None
    service.stop_all()
    sentence(service, service.start("sampler", other), f"has read {service.settings.input.topic}")


def test_a_deleted_topic_is_said(make_service, make_stream, admin):
    service = make_service()
    stream = make_stream(service)
    sampler, clusterer = service.start("sampler"), service.start("clusterer")
    stream.send(1000)
    service.wait("clusters", lambda: service.version() >= 1)
    admin.delete_topics([service.settings.input.topic, service.settings.topic("statistics")])
    sentence(service, sampler, "does not exist")
    sentence(service, clusterer, "does not exist")
