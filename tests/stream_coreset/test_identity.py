from __future__ import annotations

import numpy as np
import pytest

from stream_coreset.identity import Identity


def test_a_generation_ends_half_a_radius_from_where_it_began() -> None:
    start = np.zeros((1, 2))
    identity = Identity.begin(start, [7]).follow(start, np.array([4.0]))  # radius 2
    step = np.array([[0.9, 0.0]])
    identity = identity.follow(step, np.array([4.0]))
    assert identity.generations.tolist() == [0]
    identity = identity.follow(step + 0.5, np.array([4.0]))  # small steps add up
    assert identity.generations.tolist() == [1]
    identity = identity.follow(step + 0.6, np.array([4.0]))  # and begin anew from here
    assert identity.generations.tolist() == [1]
    assert identity.ids.tolist() == [7]


def test_without_points_the_last_radius_counts() -> None:
    start = np.zeros((1, 1))
    unknown = Identity.begin(start).follow(start + 100, np.array([np.nan]))
    assert unknown.generations.tolist() == [0]
    known = Identity.begin(start).follow(start, np.array([4.0])).follow(start + 3, np.array([np.nan]))
    assert known.generations.tolist() == [1]


def test_heirs_keep_all_and_fresh_centers_begin() -> None:
    old = Identity.begin(np.array([[0.0], [5.0]]), [3, 9], [4, 6])
    new = old.heir(np.array([1, -1, -1]), np.array([[6.0], [1.0], [2.0]]))
    assert new.ids.tolist() == [9, 10, 11]
    assert new.generations.tolist() == [6, 0, 0]
    assert new.origins.ravel().tolist() == [5.0, 1.0, 2.0]
    assert new.next_id == 12
    assert new.heir(np.array([0]), np.array([[6.0]])).heir(
        np.array([-1]), np.array([[6.0]])
    ).ids.tolist() == [12]


def test_ids_are_checked() -> None:
    with pytest.raises(ValueError, match="no id twice"):
        Identity.begin(np.zeros((2, 1)), [3, 3])
    with pytest.raises(ValueError, match="one for each center"):
        Identity.begin(np.zeros((2, 1)), [3, 4], [0])
    assert Identity.begin(np.zeros((2, 1)), [3, 4], next_id=99).next_id == 99
