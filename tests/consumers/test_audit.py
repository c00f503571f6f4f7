"""The audit's checks, without Kafka: a clean deployment passes, and each planted defect is caught."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.loop import Loop, blobs, example, settings

from consumers.audit.bias import MIN_GROUPS
from consumers.audit.books import Books
from consumers.audit.report import AuditReport, Violations
from consumers.audit.versions import check_versions
from consumers.codecs import codec_for
from consumers.records.dead_letters import read_dead_letter
from consumers.records.ledger import LedgerEntry, Range, emitted_digest
from consumers.records.publication import Publication, encode_publication
from consumers.transform import InputRecord
from stream_coreset.clusters import Clusters


class Deployment:
    """What the topics hold after a run of the real transforms; tests spoil it and audit it."""

    def __init__(self, windows: int = 30, **sections) -> None:
        self.settings = settings(window={"size": 100}, **sections)
        self.codec = codec_for(self.settings.input)
        loop = Loop(self.settings)
        self.input: list[InputRecord] = []
        for seed in range(windows):
            first = loop.offset
            values = [example(x, id=seed) for x in blobs(100, seed)]
            if seed == 3:
                values[7] = b"not json"
            loop.feed(values)
            self.input += [InputRecord("examples", 0, first + i, None, v) for i, v in enumerate(values)]
        self.ledger: list[LedgerEntry] = loop.ledger()
        self.coreset = [
            InputRecord("c", 0, i, o.key, o.value, o.headers) for i, o in enumerate(loop.of("coreset"))
        ]
        self.dead = [read_dead_letter(o.key, o.headers).source for o in loop.of("dead_letters")]
        self.committed = {("examples", 0): loop.offset}
        self.running = False

    def emitted(self):
        return [one for record in self.coreset for one in self.codec.emitted(record)]

    def audit(self, emitted=None) -> Books:
        books = Books(self.codec, 2, many_rows=False)
        books.add_ledger(self.ledger)
        books.check_offsets(self.committed, running=self.running)
        books.add_emitted(self.emitted() if emitted is None else emitted)
        for source in self.dead:
            books.add_dead_letter(source)
        for record in self.input:
            books.add_input(self.codec.decode(record))
        self.tests = books.close()
        return books

    def finds(self, words: str, emitted=None) -> None:
        """The audit complains, in these words."""
        said = self.audit(emitted).violations.sentences()
        assert any(words in sentence for sentence in said), said


@pytest.fixture
def it():
    return Deployment()


def test_a_clean_deployment_passes(it):
    books = it.audit()
    assert books.violations.sentences() == ()
    assert books.totals() == {"windows": 30, "examples": 2999, "dead": 1, "emitted": len(it.coreset)}
    assert abs(it.tests[0].z) < 4
    assert it.tests[0].groups >= MIN_GROUPS
    assert len(it.tests) == 1 + 2 + 1 + 1


@pytest.mark.parametrize("design", ["systematic", "iid"])
def test_other_designs_pass(design):
    it = Deployment(sampling={"design": design})
    assert it.audit().violations.count == 0


def test_overlapping_ranges(it):
    it.ledger[4] = replace(it.ledger[4], ranges=(Range("examples", 0, 400, 501),))
    it.finds("overlap")


def test_a_window_that_is_missing(it):
    del it.ledger[5]
    it.finds("lies in a gap")


def test_a_window_twice(it):
    it.ledger.append(it.ledger[5])
    it.finds("twice")


def test_an_example_that_was_lost(it):
    del it.coreset[11]
    it.finds("the ledger says")


def test_an_example_that_was_repeated(it):
    it.coreset.append(it.coreset[11])
    it.finds("emitted twice")


def test_another_example_instead(it):
    one, other = it.emitted()[11:13]
    swapped = [replace(e, source=other.source) if e is one else e for e in [one, *it.emitted()]]
    it.finds("digest", swapped[:1] + it.emitted()[:11] + it.emitted()[12:])


def test_bytes_that_were_changed(it):
    record = it.coreset[11]
    it.coreset[11] = replace(record, value=record.value.replace(b"id", b"ID"))
    it.finds("is not what was read")


def test_a_weight_that_is_not_one_over_pi(it):
    emitted = it.emitted()
    emitted[11] = replace(emitted[11], weight=emitted[11].weight * 1.01)
    it.finds("not 1 over its probability", emitted)


def test_weights_that_do_not_sum_to_what_the_ledger_says(it):
    emitted = it.emitted()
    one = emitted[11]
    emitted[11] = replace(one, weight=one.weight * 1.01, probability=one.probability / 1.01)
    it.finds("weights sum to", emitted)


def test_a_wrong_digest(it):
    it.ledger[5] = replace(it.ledger[5], emitted_digest=emitted_digest(["x"]))
    it.finds("digest")


def test_ranks_that_do_not_count(it):
    emitted = it.emitted()
    emitted[11] = replace(emitted[11], rank=99)
    it.finds("ranks", emitted)


def test_an_example_of_a_window_that_nobody_knows(it):
    emitted = it.emitted()
    emitted[11] = replace(emitted[11], window="examples/0/77")
    it.finds("names a window", emitted)


def test_a_window_that_was_committed_while_the_audit_ran_is_not_judged(it):
    newest = it.ledger.pop()
    it.committed = {("examples", 0): newest.ranges[0].start}
    it.running = True
    books = Books(it.codec, 2, many_rows=False)
    books.add_ledger(it.ledger)
    books.add_emitted(it.emitted())
    assert books.strange_windows <= {newest.window}
    books.committed_since([newest.window])
    books.add_dead_letter(it.dead[0])
    for record in it.input[: newest.ranges[0].start]:
        books.add_input(it.codec.decode(record))
    books.close()
    assert books.violations.sentences() == ()


def clusters(version):
    centers = np.zeros((2, 2), np.float32)
    one, unknown = np.ones(2), np.full(2, np.nan)
    ids, zeros = np.arange(2), np.zeros(2, int)
    given = Clusters(version, "", ids, zeros, centers, one, unknown, unknown, unknown, np.nan, one)
    records = encode_publication(Publication(given, "a" * 64, np.zeros(0, int), 0.2, None, 1))
    return [InputRecord("c", 0, version, key, value) for key, value in records]


def test_versions_that_rise_and_are_whole():
    found = Violations()
    assert check_versions([*clusters(1), *clusters(2), *clusters(5)], 2, found) == 3
    assert found.count == 0


@pytest.mark.parametrize("versions", [(1, 2, 2), (1, 3, 2)])
def test_a_version_that_goes_back_or_comes_twice(versions):
    found = Violations()
    check_versions([record for version in versions for record in clusters(version)], 2, found)
    assert any(f"clusters version 2 follows {versions[1]}" in sentence for sentence in found.sentences())


def test_a_damaged_version():
    first, head = clusters(1)
    spoiled = bytearray(first.value)
    spoiled[-20] ^= 1
    found = Violations()
    assert check_versions([replace(first, value=bytes(spoiled)), head], 2, found) == 0
    assert "digest does not match" in found.sentences()[0]


def test_counts_that_are_wrong(it):
    it.ledger[5] = replace(it.ledger[5], valid=99)
    it.finds("usable")


def test_a_dead_letter_that_was_dropped(it):
    it.dead.clear()
    it.finds("is no dead letter")


def test_a_dead_letter_of_a_usable_example(it):
    it.dead.append("examples/0/5")
    it.finds("1 dead letters, the ledger says 0")


def test_an_example_whose_source_is_no_source(it):
    emitted = it.emitted()
    emitted[11] = replace(emitted[11], source="nonsense")
    it.finds("outside of its ranges", emitted)


def test_an_example_that_the_input_does_not_have(it):
    emitted = it.emitted()
    emitted[11] = replace(emitted[11], source="examples/0/11/3")
    it.finds("no usable examples of the input", emitted)


def test_a_probability_above_one(it):
    emitted = it.emitted()
    emitted[11] = replace(emitted[11], weight=0.5, probability=2.0)
    it.finds("above 1", emitted)


def test_chained_weights_below_one_are_fine():
    loop = Loop(settings(window={"size": 100}, input={"chain": True}))
    records = loop.records([example(x) for x in blobs(100)], headers=(("coreset-weight", b"0.05"),))
    for window in loop.sampler.cut(records, 1.0):
        loop.take(loop.sampler.apply(window))
    codec = codec_for(loop.settings.input)
    books = Books(codec, 2, many_rows=False)
    books.add_ledger(loop.ledger())
    for output in loop.of("coreset"):
        books.add_emitted(codec.emitted(InputRecord("c", 0, 0, output.key, output.value, output.headers)))
    for record in records:
        books.add_input(codec.decode(record))
    books.close()
    assert books.totals()["emitted"] == 10
    assert books.violations.sentences() == ()


def test_nothing_checked_is_not_called_clean():
    said = AuditReport((), (), {"windows": 3, "windows checked": 0}).render()
    assert "no window to check" in said
    assert "The audit is clean." not in said


def test_a_dead_letter_twice(it):
    it.dead *= 2
    it.finds("dead letter twice")


@pytest.mark.parametrize(("offset", "running", "clean"), [(3000, False, True), (2900, True, True)])
def test_offsets_that_are_right(it, offset, running, clean):
    it.committed, it.running = {("examples", 0): offset}, running
    assert (it.audit().violations.count == 0) is clean


@pytest.mark.parametrize(
    ("committed", "words"),
    [({("examples", 0): 3001}, "ledger ends at"), ({("examples", 0): 2900}, "2900 only"), ({}, "no offset")],
)
def test_offsets_that_are_wrong(it, committed, words):
    it.committed = committed
    it.finds(words)


def test_windows_that_retention_has_cut_into_are_not_judged(it):
    books = Books(it.codec, 2, many_rows=False)
    books.add_ledger(it.ledger)
    books.add_emitted(it.emitted()[50:])
    judged = [entry.window for entry in it.ledger[10:]]
    books.judge_only(judged)
    for record in it.input[1000:]:
        books.add_input(it.codec.decode(record))
    books.close()
    assert books.violations.count == 0
