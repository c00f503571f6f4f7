"""Adaptation on the drifting stream, beside what it replaces."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from sklearn.cluster import KMeans

from stream_coreset.kmeans import MiniBatchKMeans, clustering_cost

K = 64


def drifting(seed: int, windows: int = 10, n: int = 8192, clusters: int = 40) -> Iterator[np.ndarray]:
    """Means that move in every window, heavy tails; at two windows five clusters jump and shares change."""
    rng = np.random.default_rng(seed)
    means, shares = rng.normal(0, 5, (clusters, 16)), np.arange(1, clusters + 1) ** -1.1
    for window in range(windows):
        if window in (4, 7):
            means[rng.choice(clusters, 5, replace=False)] = rng.normal(0, 8, (5, 16))
            shares = rng.permutation(shares)
        X = means[rng.choice(clusters, n, p=shares / shares.sum())] + rng.normal(size=(n, 16))
        tail = rng.random(n) < 0.01
        X[tail] += 5 * rng.standard_t(2, (int(tail.sum()), 16))
        means = means + 0.35 * rng.normal(size=means.shape)
        yield X.astype("f4")


@pytest.mark.parametrize("seed", [0, 1])
def test_near_fresh_k_means_where_mini_batches_are_far_off(seed: int) -> None:
    """Cost over that of k-means on the window; seeds 0 to 4, 16 windows: 1.08 to 1.11 against 3.2 to 4.2."""
    adaptive, mini_batch = MiniBatchKMeans(K, seed=seed), MiniBatchKMeans(K, half_life=8192, seed=seed)
    adapted, learned = [], []
    for X in drifting(seed):
        fresh = KMeans(K, n_init=1, max_iter=50, random_state=seed).fit(X).inertia_
        if len(mini_batch.counts_):
            learned.append(clustering_cost(X, mini_batch.cluster_centers_) / fresh)
            adapted.append(clustering_cost(X, adaptive.adapt(X).cluster_centers_) / fresh)
        else:
            adaptive.adapt(X)
        mini_batch.partial_fit(X)
    assert np.mean(adapted) < 1.15
    assert max(adapted) < 1.5
    assert np.mean(learned) > 2 * np.mean(adapted)


def test_a_version_published_every_fourth_window_and_adapted_in_each() -> None:
    """What a sampler does between versions: the same start again, further and further off."""
    ratios = []
    for window, X in enumerate(drifting(2)):
        if window % 4 == 0:
            published = MiniBatchKMeans(K, seed=window).adapt(X).adapt(X)
            continue
        local = MiniBatchKMeans.from_centers(published.cluster_centers_, split_fraction=0.25, seed=window)
        fresh = KMeans(K, n_init=1, max_iter=50, random_state=2).fit(X).inertia_
        ratios.append(clustering_cost(X, local.adapt(X).cluster_centers_) / fresh)
    assert np.mean(ratios) < 1.2
    assert max(ratios) < 1.6


def test_ids_on_a_drifting_stream_are_distinct_and_never_come_back() -> None:
    model = MiniBatchKMeans(K, seed=3)
    alive: set[int] = set()
    retired: set[int] = set()
    for X in drifting(3, n=2048):
        now = set(model.adapt(X).ids_.tolist())
        assert len(now) == K
        assert not now & retired
        assert max(now) < model.next_id_
        retired |= alive - now
        alive = now
    assert retired
