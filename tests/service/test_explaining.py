"""The service explains itself: ``clusters`` and ``explain`` on a stream that went through it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from consumers import cli
from consumers.reader import read_to_end

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """``ask(service, command, ...)``: what the command answers, as JSON, as text, and its error."""

    def run(service: Any, command: str, *words: object) -> tuple[dict[str, Any], str, str]:
        file = tmp_path / "answer.json"
        given = [command, *map(str, words), "--config", str(service.config), "--json", str(file)]
        capsys.readouterr()
        failed = cli.main(given)
        text, error = capsys.readouterr()
        if failed:
            return {}, text, error
        assert max(map(len, text.splitlines())) <= 100
        return json.loads(file.read_text()), text, ""

    return run


def test_the_service_explains_itself(make_service, make_stream, ask):
    service = make_service()
    settings, stream = service.settings, make_stream(service)
    topic, coreset = settings.input.topic, settings.topic("coreset")
    assert "There are no clusters" in ask(service, "clusters")[2]
    stream.send(1)
    partition = next(iter(read_to_end(settings, topic))).partition
    assert "No sampler has processed" in ask(service, "explain", topic, partition, 0)[2]

    service.start("sampler")
    service.start("clusterer")
    stream.send(1000)
    service.wait("clusters", lambda: service.version() >= 1)
    bad = stream.sent
    stream.send_bytes(b'{"embedding": [1, 2]}', key=b"bad")
    stream.send(3000)
    service.wait_processed(stream.sent)
    while not any(entry.clusters_version for entry in service.ledger()):  # until the sampler has read them
        stream.send(1000)
        service.wait_processed(stream.sent)
    service.stop_all()
    given = list(read_to_end(settings, topic))
    emitted = list(read_to_end(settings, coreset))
    sources = {dict(record.headers)["coreset-source"].decode() for record in emitted}

    found, text, _ = ask(service, "clusters", "--top", 3)
    assert found["version"] == service.version()
    assert len(found["centers"]) == 8 == found["unknown_losses"]
    assert found["sample_examples"] == len(emitted)
    shares = [center["sample_share"] for center in found["centers"]]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) + found["sample_elsewhere"] / len(emitted) == pytest.approx(1)
    assert "... and 5 more" in text

    known = {str(center["id"]).encode() for center in found["centers"]}  # a sampler places others
    last = next(one for one in reversed(emitted) if dict(one.headers).get("coreset-cluster") in known)
    told = {name: value.decode() for name, value in last.headers}
    for where in ((coreset, last.partition, last.offset), told["coreset-source"].split("/")):
        found, text, _ = ask(service, "explain", *where)
        assert found["outcome"] == "taken"
        assert found["source"] == told["coreset-source"]
        assert found["window"]["window"] == told["coreset-window"]
        (draw,) = found["draws"]
        assert draw["weight"] == float(told["coreset-weight"])
        entry = next(entry for entry in service.ledger() if entry.window == told["coreset-window"])
        uniform = entry.s / entry.valid
        assert found["times_uniform"] == pytest.approx(float(told["coreset-probability"]) / uniform)
        assert found["today"]["cluster"] == told["coreset-cluster"]

    first = emitted[0]  # of a window without clusters, and with later ones behind it
    found, text, _ = ask(service, "explain", *dict(first.headers)["coreset-source"].decode().split("/"))
    assert found["outcome"] == "taken"
    assert found["times_uniform"] == pytest.approx(1)
    assert "no clusters yet" in text

    left = next(r for r in reversed(given) if f"{topic}/{r.partition}/{r.offset}" not in sources)
    found, text, _ = ask(service, "explain", topic, left.partition, left.offset)
    assert found["outcome"] == "not taken"
    assert 0 < found["probability"] < 1
    assert found["today"]["examples"] == found["window"]["valid"]
    assert "Approximate, and of today" in text

    letter = next(record for record in given if record.value == b'{"embedding": [1, 2]}')
    found, text, _ = ask(service, "explain", topic, letter.partition, letter.offset)
    assert found["outcome"] == "dead letter"
    assert "WrongDimension" in found["sentence"]
    assert bad

    for where, says in (
        ((topic, 0, 10**9), "nothing is at 1000000000 yet"),
        ((topic, 7, 0), "has the partitions 0 to 1, not 7"),
        ((settings.topic("windows"), 0, 0), f"name the input, {topic}, or the coreset, {coreset}"),
        ((topic, 0, 0, "--row", 1), "leave --row out"),
    ):
        assert says in ask(service, "explain", *where)[2]
    stream.send(50)
    ends = {record.partition: record.offset for record in read_to_end(settings, topic)}
    assert "has not been processed yet" in ask(service, "explain", topic, 0, ends[0])[2]
