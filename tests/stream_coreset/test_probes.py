"""Probes: the nearest and uniform members of each cluster, and their merging over windows."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from stream_coreset.probes import ProbePool, choose_probes, choose_queries

SIGNIFICANCE = 1e-4  # false-alarm rate of each chi-square test, had its seed not been fixed


def window(n: int, k: int, seed: int = 0) -> SimpleNamespace:
    rng = np.random.default_rng(seed)
    return SimpleNamespace(labels=rng.integers(0, k, n), distances=rng.exponential(size=n).astype(np.float32))


@given(st.integers(1, 200), st.integers(1, 12), st.integers(0, 10), st.integers(0, 2**32))
def test_each_wanted_cluster_gives_its_nearest_and_distinct_members(n: int, k: int, members: int, seed: int):
    assignment = window(n, k, seed)
    wanted = np.random.default_rng(seed).permutation(k + 1)
    probes = choose_probes(assignment, wanted, members, np.random.default_rng(1))
    sizes = Counter(assignment.labels.tolist())
    assert [label for label in wanted if sizes[label]] == probes.labels[probes.is_nearest].tolist()
    assert (assignment.labels[probes.rows] == probes.labels).all()
    assert (probes.member_counts == [sizes[label] for label in probes.labels]).all()
    for label in set(probes.labels.tolist()):
        mine = probes.labels == label
        distances = assignment.distances[assignment.labels == label]
        assert probes.distances[mine & probes.is_nearest] == distances.min()
        drawn = probes.rows[mine & ~probes.is_nearest]
        assert len(set(drawn.tolist())) == len(drawn) == min(members, sizes[label])


def test_members_are_uniform_and_the_nearest_is_one_of_them():
    assignment = SimpleNamespace(labels=np.zeros(12, int), distances=np.arange(12.0))
    rng = np.random.default_rng(5)
    drawn = [choose_probes(assignment, [0], 3, rng).rows[1:] for _ in range(4000)]
    assert stats.chisquare(np.bincount(np.concatenate(drawn), minlength=12)).pvalue > SIGNIFICANCE


@given(st.integers(1, 200), st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32))
def test_what_is_asked_before_a_draw_holds_the_farthest(n: int, k: int, queries: int, seed: int):
    assignment = window(n, k, seed)
    wanted = np.unique(assignment.labels)[::2]
    probes = choose_queries(assignment, wanted, queries, np.random.default_rng(1))
    asked = probes.queries()
    assert len(asked) <= queries * len(wanted)
    assert set(assignment.labels[asked].tolist()) == set(wanted.tolist())
    for label in wanted if queries > 2 else ():
        members = np.flatnonzero(assignment.labels == label)
        assert (
            assignment.distances[asked[np.isin(asked, members)]].max() == assignment.distances[members].max()
        )
        assert len(asked[np.isin(asked, members)]) >= min(len(members), queries - 2)
    answers = {answer.label: answer.nearest_loss for answer in probes.answers(asked * 10.0)}
    assert answers == {
        label: 10.0 * row
        for label, row in zip(probes.labels[probes.is_nearest], probes.rows[probes.is_nearest], strict=True)
    }


def test_answers_return_the_losses_by_cluster():
    assignment = window(60, 4)
    probes = choose_probes(assignment, [2, 0], 5, np.random.default_rng(0))
    rows = probes.queries()
    assert len(rows) == len(set(rows.tolist())) <= len(probes)
    answers = list(probes.answers(rows * 10.0))
    assert [answer.label for answer in answers] == [2, 0]
    expected = probes.rows * 10.0
    assert [answer.nearest_loss for answer in answers] == expected[[0, 6]].tolist()
    assert answers[1].member_losses.tolist() == expected[7:].tolist()


def test_no_cluster_wanted_no_probes():
    probes = choose_probes(window(10, 2), [], 3, np.random.default_rng(0))
    assert len(probes) == 0
    assert list(probes.answers([])) == []


def test_the_pool_keeps_the_nearest():
    pool: ProbePool[str] = ProbePool(members=2, rng=np.random.default_rng(0))
    for distance, name in [(3.0, "c"), (1.0, "a"), (2.0, "b")]:
        pool.add(1, nearest=name, distance=distance)
    pool.add(2, nearest="other", distance=0.0)
    assert 1 in pool
    found = pool.take(1)
    assert found is not None
    assert (found.nearest, found.distance, found.members) == ("a", 1.0, ())
    pool.forget(keep=[])
    assert len(pool) == 0


def test_the_reservoir_is_uniform_over_all_windows():
    """Three windows of 3, 9 and 28 members, each sending four or all; a merge that ignores counts fails."""
    rng = np.random.default_rng(11)
    windows = [list(range(3)), list(range(3, 12)), list(range(12, 40))]
    counts = np.zeros(40)
    pool: ProbePool[int] = ProbePool(members=4, rng=rng)
    for _ in range(8000):
        for members in windows:
            sent = rng.choice(members, min(4, len(members)), replace=False).tolist()
            pool.add(0, nearest=sent[0], distance=1.0, members=sent, member_count=len(members))
        found = pool.take(0)
        assert found is not None
        assert len(set(found.members)) == 4
        assert found.member_count == 40
        counts[list(found.members)] += 1
    assert stats.chisquare(counts).pvalue > SIGNIFICANCE


def test_the_reservoir_draws_without_replacement_from_both_sides():
    """How many of four come from either of two windows of four is hypergeometric, not binomial."""
    pool: ProbePool[int] = ProbePool(members=4, rng=np.random.default_rng(2))
    seen = np.zeros(5)
    for _ in range(4000):
        pool.add(0, nearest=0, distance=1.0, members=[0, 1, 2, 3], member_count=4)
        pool.add(0, nearest=4, distance=1.0, members=[4, 5, 6, 7], member_count=4)
        found = pool.take(0)
        assert found is not None
        seen[sum(member < 4 for member in found.members)] += 1
    expected = 4000 * stats.hypergeom(8, 4, 4).pmf(np.arange(5))
    assert stats.chisquare(seen, expected).pvalue > SIGNIFICANCE


def test_the_reservoir_takes_what_there_is_when_a_side_sent_less():
    pool: ProbePool[int] = ProbePool(members=4, rng=np.random.default_rng(0))
    pool.add(0, nearest=1, distance=1.0, members=[1], member_count=10**12)
    pool.add(0, nearest=2, distance=1.0, members=[2, 3, 4], member_count=3)
    found = pool.take(0)
    assert found is not None
    assert sorted(found.members) == [1, 2, 3, 4]


def test_the_pool_refuses_impossible_numbers():
    pool: ProbePool[int] = ProbePool(members=4, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="member_count is 1"):
        pool.add(0, nearest=1, distance=1.0, members=[1, 2], member_count=1)
    with pytest.raises(ValueError, match="distance is nan"):
        pool.add(0, nearest=1, distance=float("nan"))
    assert len(pool) == 0
