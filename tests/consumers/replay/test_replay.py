"""Dead letters go back into the stream, exactly once, on a real Apache Kafka."""

from __future__ import annotations

import io
import itertools
import threading
import time

import numpy as np
import pyarrow as pa
import pytest
from kafka.structs import TopicPartition
from support.dead_letters import WHY, Dead, example

from consumers import cli
from consumers.audit import audit
from consumers.committer import Committer
from consumers.errors import FencedError
from consumers.metrics import SamplerMetrics
from consumers.reader import read_to_end
from consumers.records import LedgerEntry
from consumers.records.dead_letters import dead_letter
from consumers.records.replays import COUNT, FIRST_SOURCE, read_letter, replay_note
from consumers.replay import Selection, replay, run
from consumers.sampler import SamplerTransform
from consumers.transform import InputRecord, Output

ALL = Selection()


@pytest.fixture
def deploy(make_settings, make_topic):
    """``deploy(partitions=1, configs=None, **sections)``."""

    made = []

    def make(partitions=1, configs=None, **sections):
        made.append(Dead(make_settings(make_topic(partitions, configs=configs), **sections)))
        return made[-1]

    yield make
    for one in made:
        one.close()


def padded(number, size):
    return example(number)[:-1] + b', "x": "%s"}' % (b"x" * size)


def sample(running, settings, examples):
    """Run a sampler, in this process, until the ledger accounts for so many examples; valid, dead."""
    name, ledger = f"{settings.name}-sampler", settings.topic("windows")
    transform = SamplerTransform(settings, lambda: None, SamplerMetrics())

    def accounted():
        entries = [LedgerEntry.decode(record.value) for record in read_to_end(settings, ledger)]
        return sum(entry.valid for entry in entries), sum(entry.dead for entry in entries)

    with running(settings, transform, group=name, transactional_id=f"{name}-0", ledger_topic=ledger):
        deadline = time.monotonic() + 30
        while sum(accounted()) < examples:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    return accounted()


def test_what_was_mended_is_used_and_the_audit_is_clean(deploy, running, make_settings):
    """The cause was a limit set too low. One message is so large that its letter holds its beginning only."""
    it = deploy(2, input={"max_message_bytes": 1_000}, window={"age_seconds": 0.3})
    topic, now = it.settings.input.topic, time.time_ns() // 1_000_000
    headers = (("trace", b"\x00\xff"), ("empty", b""))
    large = [
        Output(topic, padded(i, size), b"k%d" % i, headers, now - i, i)
        for i, size in enumerate((2_000, 99_000))
    ]
    it.write([*large, *(Output(topic, example(i)) for i in range(20)), Output(topic, b"not json")])
    assert sample(running, it.settings, 23) == (20, 3)
    assert audit(it.settings).clean

    mended = make_settings(topic, window={"age_seconds": 0.3})
    (said,) = audit(mended).violations
    assert said.startswith("2 dead letters")
    assert "stream-coreset replay-dead-letters" in said
    report = replay(mended, ALL)
    assert (report.replayed, report.stayed) == (2, 1)
    assert "still fails: " in report.render()
    back = sorted((r for r in it.input() if COUNT in dict(r.headers)), key=lambda r: r.key)
    assert [(r.value, r.key, r.timestamp_ms, r.partition) for r in back] == [
        (o.value, o.key, o.timestamp_ms, o.partition) for o in large
    ]
    for number, record in enumerate(back):
        ours = ((COUNT, b"1"), (FIRST_SOURCE, f"{topic}/{number}/0".encode()))
        assert record.headers == (*headers, *ours)

    assert sample(running, mended, 25) == (22, 3)
    assert audit(mended).violations == ()
    again = replay(mended, ALL)
    assert (again.replayed, again.stayed, again.before) == (0, 1, 2)
    assert len(it.input()) == 25


def test_filters_a_limit_and_a_dry_run(deploy):
    it = deploy()
    it.letters([example(i) for i in range(6)] + [b"{}"], timestamp_ms=1_700_000_000_000)
    assert replay(it.settings, Selection(dry_run=True)).replayed == 0  # too old for the input's retention
    it = deploy(configs={"retention.ms": "-1"})
    it.letters([example(i) for i in range(6)] + [b"{}"], timestamp_ms=1_700_000_000_000)
    assert replay(it.settings, Selection(dry_run=True)).replayed == 6
    assert it.values() == it.notes() == []
    assert replay(it.settings, Selection(exception="NotJson")).replayed == 0
    assert replay(it.settings, Selection(offset=3)).replayed == 1
    assert it.values() == [example(3)]
    assert replay(it.settings, Selection(limit=2)).replayed == 2
    assert it.values() == [example(i) for i in (3, 0, 1)]
    report = replay(it.settings, ALL)
    assert (report.replayed, report.stayed, report.before) == (3, 1, 3)
    assert replay(it.settings, Selection(force=True)).replayed == 1  # though it will be a dead letter again
    assert it.values() == [example(i) for i in (3, 0, 1, 2, 4, 5)] + [b"{}"]
    assert len(it.notes()) == 7


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(run, "_BATCH_LETTERS", 5)


def test_two_replays_at_once_shut_each_other_out_and_nothing_comes_twice(deploy, small_batches):
    """Another one comes after every batch: the first goes on once, and then leaves it to the other."""
    it, values = deploy(), [example(i) for i in range(17)]
    it.letters(values)

    def another_one(said):
        if said.endswith("replayed, 0 stay"):
            assert replay(it.settings, Selection(limit=3)).replayed == 3

    with pytest.raises(FencedError, match="Another replay"):
        replay(it.settings, ALL, another_one)
    assert len(it.notes()) == 5 + 3 + 5 + 3
    assert replay(it.settings, ALL).replayed == 1
    assert sorted(it.values()) == sorted(values)
    assert sorted(it.notes()) == list(range(17))


def test_what_a_dead_replay_left_open_is_undone_first(deploy):
    it = deploy()
    it.letters([example(0), example(1)])
    topic = it.settings.topic("dead_letters")
    letters = [read_letter(record) for record in read_to_end(it.settings, topic)]
    undone = [Output(it.settings.input.topic, b"half done"), replay_note(topic, letters[0])]
    it.write(undone, "replay", commit=False)
    assert replay(it.settings, ALL).replayed == 2
    assert it.values() == [example(0), example(1)]


def test_a_commit_of_which_nobody_knows_is_looked_up(deploy, monkeypatch, small_batches):
    """The answer to the first commit is lost; the second did not commit."""
    it, real = deploy(), Committer.commit
    values = [example(i) for i in range(12)]
    it.letters(values)
    commits = itertools.count()

    def commit(self, units, membership):
        number = next(commits)
        if number == 1:
            self.close()
            return "aborted"
        return "unknown" if real(self, units, membership) == "committed" and not number else "committed"

    monkeypatch.setattr(Committer, "commit", commit)
    report = replay(it.settings, ALL)
    assert (report.replayed, report.before) == (12, 0)
    assert it.values() == values
    assert next(commits) == 4


def test_notes_behind_an_open_transaction_of_a_sampler_are_waited_for(deploy):
    it = deploy()
    it.letters([example(0)])
    sampler = it.write([Output(it.settings.topic("dead_letters"), b"open")], "sampler-0", commit=False)
    letters = read_to_end(it.settings, it.settings.topic("dead_letters"))
    letter = next(read_letter(record) for record in letters)
    it.write([replay_note(it.settings.topic("dead_letters"), letter)])  # hidden by what is open
    later = threading.Timer(1.0, sampler.abort_transaction)
    later.start()
    assert replay(it.settings, ALL).before == 1
    assert it.values() == []
    later.join()


def test_a_source_that_is_gone_stays_and_is_said(deploy, admin):
    it = deploy()
    """Of three messages the first was deleted, and the last is not the one that the letter is about."""
    big = [padded(i, 70_000) for i in range(3)]
    it.write([Output(it.settings.input.topic, value) for value in big])
    it.letters([*big[:2], padded(7, 70_000)])
    admin.delete_records({TopicPartition(it.settings.input.topic, 0): 1})
    report = replay(it.settings, ALL)
    assert (report.replayed, report.stayed, report.of("source gone")) == (1, 2, 2)
    assert it.values() == [*big[1:], big[1]]
    assert f"source gone: {it.settings.input.topic}/0/0" in report.render()


def table(rows, text=""):
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.asarray(rows, np.float32).ravel()), 2)
    sink = io.BytesIO()
    batch = pa.table({"embedding": vectors, "text": [f"{text}{i}" for i in range(len(rows))]})
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_table(batch)
    return sink.getvalue()


def test_rows_go_back_as_streams_of_one_row(deploy):
    """A row of its own, and one so large that it is taken out of its message again."""
    it = deploy(input={"format": "arrow"}, sampling={"rate": 0.5})
    topic, dead = it.settings.input.topic, it.settings.topic("dead_letters")
    small, large = table([[1, 2], [3, 4]]), table([[1, 2], [3, 4]], text="x" * 70_000)
    it.write([Output(topic, small), Output(topic, large)])
    codec = SamplerTransform(it.settings, lambda: None, SamplerMetrics())._codec
    rows = []
    for offset, value in enumerate((small, large)):
        record = InputRecord(topic, 0, offset, None, value)
        rows.append(codec.example(codec.decode(record), 1))
        it.write([dead_letter(dead, record, **WHY, row=1, value=rows[-1])])
    assert replay(it.settings, ALL).replayed == 2
    assert it.values()[2:] == rows
    assert [codec.decode(record).embeddings.tolist() for record in it.input()[2:]] == [[[3, 4]]] * 2


def test_what_fails_again_is_counted_and_left_alone_in_the_end(deploy):
    it = deploy()
    message = InputRecord("", 0, 0, None, b"never json")
    for offset in range(3):
        it.letters([message.value], offset, headers=message.headers)
        assert replay(it.settings, Selection(force=True)).replayed == 1
        message = it.input()[-1]
        assert dict(message.headers)[COUNT] == b"%d" % (offset + 1)
        assert dict(message.headers)[FIRST_SOURCE] == f"{it.settings.input.topic}/0/0".encode()
    it.letters([b"never json"], 3, headers=message.headers)
    report = replay(it.settings, Selection(force=True))
    assert (report.replayed, report.of("too often"), report.before) == (0, 1, 3)
    assert replay(it.settings, Selection(force=True, max_replays=4)).replayed == 1


def test_the_command(deploy, capsys, kafka):
    it = deploy()
    it.letters([example(0), b"{}"])
    flags = [f"--name={it.settings.name}", f"--kafka.bootstrap_servers={kafka}"]
    flags += [f"--input.topic={it.settings.input.topic}", "--input.dimension=2"]
    assert cli.main(["replay-dead-letters", "--dry-run", *flags]) == 1
    said = capsys.readouterr().out
    assert "1 of 2 dead letters would be replayed, 1 stay." in said
    assert it.values() == []
    assert cli.main(["replay-dead-letters", "--offset", "0", *flags]) == 0
    assert "1 of 1 dead letters were replayed." in capsys.readouterr().out
    assert it.values() == [example(0)]


def test_the_command_explains_itself(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["replay-dead-letters", "--help"])
    said = capsys.readouterr().out
    assert "stream-coreset replay-dead-letters --exception WrongDimension" in said
    with pytest.raises(SystemExit, match="2"):
        cli.main(["replay-dead-letters", "--since", "2026-01-31"])
    assert "lacks its time zone" in capsys.readouterr().err
