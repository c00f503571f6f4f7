"""The sampler's transform, without Kafka: messages in, units of output out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.loop import Loop, blobs, example, settings

from consumers.budget import sensitivity_sampler
from consumers.errors import ServiceError
from consumers.records.dead_letters import read_dead_letter
from consumers.records.ledger import emitted_digest
from consumers.records.publication import Publication
from stream_coreset.limits import Limits


def _sources(outputs):
    return [dict(output.headers)["coreset-source"].decode() for output in outputs]


def test_uniform_until_there_are_clusters():
    loop = Loop(settings())
    loop.feed([example(x) for x in blobs(200)])
    weights = [float(dict(output.headers)["coreset-weight"]) for output in loop.of("coreset")]
    assert weights == pytest.approx([10.0] * 20)
    assert {dict(output.headers)["coreset-cluster"] for output in loop.of("coreset")} == {b"-"}
    assert loop.ledger()[0].clusters_version == 0


def test_clusters_are_used_once_published():
    loop = Loop(settings())
    for seed in range(3):
        loop.feed([example(x) for x in blobs(200, seed)])
    last = loop.ledger()[-1]
    assert last.clusters_version > 0
    assert last.weight_sum == pytest.approx(200, rel=0.5)
    told = [dict(output.headers) for output in loop.of("coreset")][-last.emitted :]
    assert {int(one["coreset-clusters"]) for one in told} == {last.clusters_version}
    assert len({one["coreset-cluster"] for one in told}) > 1


def test_the_ledger_accounts_for_everything():
    loop = Loop(settings())
    values = [example(x) for x in blobs(500)]
    values[3], values[499] = b"not json", example([1.0])
    units = loop.feed(values)
    entries = loop.ledger()
    assert [unit.offsets for unit in units] == [{("examples", 0): end} for end in (200, 400, 500)]
    assert [(part.start, part.end) for e in entries for part in e.ranges] == [
        (0, 200),
        (200, 400),
        (400, 500),
    ]
    assert sum(entry.valid for entry in entries) == 498
    assert sum(entry.dead for entry in entries) == 2
    assert sum(entry.emitted for entry in entries) == len(loop.of("coreset"))
    assert entries[0].emitted_digest == emitted_digest(_sources(loop.of("coreset")[: entries[0].emitted]))
    dead = [read_dead_letter(output.key, output.headers) for output in loop.of("dead_letters")]
    assert [letter.source for letter in dead] == ["examples/0/3", "examples/0/499"]


def test_a_window_of_nothing_usable():
    loop = Loop(settings())
    (unit,) = loop.feed([b"no", None, b"[]"])
    (entry,) = loop.ledger()
    assert (entry.valid, entry.dead, entry.emitted, entry.weight_sum) == (0, 3, 0, 0.0)
    assert unit.offsets == {("examples", 0): 3}
    assert len(loop.of("dead_letters")) == 3


@pytest.mark.parametrize("design", ["pivotal", "systematic", "iid"])
@pytest.mark.parametrize("values", [[example([1, 2])], [example([3, 3])] * 50])
def test_degenerate_windows(design, values):
    loop = Loop(settings(sampling={"rate": 0.5, "design": design}))
    for _ in range(4):
        loop.feed(values)
    assert [entry.valid for entry in loop.ledger()] == [len(values)] * 4
    assert all(entry.s == 0.5 * len(values) for entry in loop.ledger())


def test_a_retry_of_the_same_window_repeats_its_draw():
    values = [example(x) for x in blobs(200)]
    loop = Loop(settings())
    loop.feed([example(x) for x in blobs(200, 1)])
    window = loop.sampler.cut(loop.records(values), 0.0)[0]
    coreset = loop.settings.topic("coreset")
    draws = []
    for _ in range(2):
        outputs = loop.sampler.apply(window).outputs
        draws.append([(o.headers, o.value) for o in outputs if o.topic == coreset])
        loop.sampler.reset([("examples", 0)])
    assert draws[0] == draws[1]


def test_draws_differ_between_windows_and_seeds():
    values = [example(x) for x in blobs(200)]
    taken = []
    for seed in ("a", "b"):
        loop = Loop(settings(sampling={"seed": seed}))
        loop.feed(values + values)
        rows = [int(source.split("/")[2]) for source in _sources(loop.of("coreset"))]
        taken += [tuple(r for r in rows if r < 200), tuple(r - 200 for r in rows if r >= 200)]
    assert len(set(taken)) == 4


def test_counters_advance_at_the_commit():
    loop = Loop(settings())
    window = loop.sampler.cut(loop.records([example(x) for x in blobs(200)]), 0.0)[0]
    unit = loop.sampler.apply(window)
    value = loop.sampler_metrics.registry.get_sample_value
    assert value("stream_coreset_examples_consumed_total") == 0
    unit.on_commit()
    assert value("stream_coreset_examples_consumed_total") == 200
    assert value("stream_coreset_emitted_weight_total") == pytest.approx(200)


def test_a_message_too_large_for_the_coreset_is_dead_before_the_draw():
    loop = Loop(settings(input={"max_message_bytes": 100_000}))
    headers = (("big", b"x" * 90_000),)
    values = [example(x, text="y" * 60_000) for x in blobs(2)]
    windows = loop.sampler.cut(loop.records(values[:1], headers=headers) + loop.records(values[1:]), 0.0)
    (window,) = windows + loop.sampler.cut([], 100.0)
    loop.take(loop.sampler.apply(window))
    (entry,) = loop.ledger()
    assert (entry.valid, entry.dead) == (1, 1)


def test_clusters_of_another_stream_are_refused():
    loop = Loop(settings())
    for seed in range(2):
        loop.feed([example(x) for x in blobs(200, seed)])
    other = settings(input={"topic": "another"})
    assert isinstance(loop.publication, Publication)
    with pytest.raises(ServiceError, match="another stream"):
        loop.publication.check_stream(other)


def test_weights_are_unbiased_over_many_windows():
    """Two-sided level 1e-4: 200 windows of 60 rows, s = 6, weights against their martingale variance."""
    loop = Loop(settings(window={"size": 60}))
    for seed in range(200):
        loop.feed([example(x) for x in blobs(60, seed)])
    errors = np.array([entry.weight_sum - entry.valid for entry in loop.ledger()])
    later = errors[errors != 0]
    assert len(later) > 100
    assert abs(later.sum()) < 3.9 * np.sqrt((later**2).sum())


def test_old_messages_are_warned_of_once(capsys):
    loop = Loop(settings())
    for _ in range(2):
        records = loop.records([example(x) for x in blobs(200)], timestamp_ms=1_000_000_000_000)
        loop.sampler.apply(loop.sampler.cut(records, 0.0)[0])
    assert capsys.readouterr().out.count("older than topics.retention_hours") == 1


def test_one_partition_cannot_take_the_sample():
    """Partition 1 has a tenth of the examples, all far from the others, and wants half of the sample."""
    shares = {}
    for limit in (0.3, 1.0):
        free = {"max_unmeasured_share": 1, "max_few_share": 1, "max_cluster_share": 1}
        limits = {**free, "max_source_share": limit, "floor": 0.1}
        loop = Loop(settings(window={"size": 400}, sampling={"rate": 0.1, **limits}))
        rng = np.random.default_rng(0)
        for _ in range(3):
            honest = [example(x) for x in blobs(360)]
            theirs = [example(x) for x in 5000 * rng.normal(size=(40, 2))]
            values = loop.records(honest) + [replace(r, partition=1) for r in loop.records(theirs)]
            loop.now += 1.0
            (window,) = loop.sampler.cut(values, loop.now)
            unit = loop.sampler.apply(window)
            loop.take(unit)
            loop.turn(unit)
        coreset = [output for output in unit.outputs if output.topic == loop.settings.topic("coreset")]
        shares[limit] = sum(source.startswith("examples/1/") for source in _sources(coreset)) / len(coreset)
        gauge = loop.sampler_metrics.registry.get_sample_value
        assert gauge("stream_coreset_largest_share", {"of": "source"}) > 0.4
        assert gauge("stream_coreset_share_limit", {"of": "source"}) == limit
    assert shares[0.3] <= 0.3 + 1 / 40  # a fixed size, in order: at most one more than expected
    assert shares[1.0] > 0.4


def test_a_budget_by_epsilon_has_no_limits():
    assert sensitivity_sampler(settings(sampling={"rate": None, "epsilon": 0.3})).limits is None
    assert sensitivity_sampler(settings()).limits == Limits()
