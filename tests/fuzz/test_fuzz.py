"""What every run of the tests fuzzes, within half a minute; ``make fuzz`` does it at length.

The inputs are those of `fuzz.inputs`, from seeds that Hypothesis draws, and Hypothesis' own bytes.
"""

from __future__ import annotations

from random import Random

import pytest
from fuzz.inputs import generate
from fuzz.mutation import MAX_BYTES
from fuzz.seeds import seeds
from fuzz.targets import TARGETS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# Those that need a socket, PyYAML or argparse take milliseconds each.
SLOW = {"http": 40, "yaml": 60, "environment": 60, "flags": 60, "arrow": 250, "headers": 150}
bounded = settings(deadline=None, suppress_health_check=list(HealthCheck))


def examples(name: str) -> settings:
    return settings(bounded, max_examples=SLOW.get(name, 400))


@pytest.mark.parametrize("name", TARGETS)
def test_hostile_inputs_are_accepted_or_refused_as_documented(name: str) -> None:
    @examples(name)
    @given(st.integers(0, 2**63))
    def fuzz(seed: int) -> None:
        value = generate(name, Random(seed))
        assert len(value) <= MAX_BYTES
        assert TARGETS[name](value)

    fuzz()


@pytest.mark.parametrize("name", TARGETS)
def test_bytes_at_random_are_accepted_or_refused_as_documented(name: str) -> None:
    @settings(bounded, max_examples=SLOW.get(name, 100) // 4 + 10)
    @given(st.binary(max_size=200))
    def fuzz(value: bytes) -> None:
        assert TARGETS[name](value)

    fuzz()


# What a valid input of each target is refused for, where it is: those are kept as beginnings, too.
REFUSED = {"headers": {"BadWeight"}, "http": {"503", "307", "malformed"}}


@pytest.mark.parametrize("name", TARGETS)
def test_the_valid_inputs_are_valid(name: str) -> None:
    outcomes = [TARGETS[name](value) for value in seeds(name)]
    assert outcomes.count("accepted") >= 1
    assert set(outcomes) <= {"accepted"} | REFUSED.get(name, set())


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_are_neither_all_refused_nor_all_accepted(name: str) -> None:
    """Else the generators would try one half of the parser only."""
    outcomes = [TARGETS[name](generate(name, Random(f"balance/{i}"))) for i in range(60)]
    assert 0 < outcomes.count("accepted") < 60
    assert len(set(outcomes)) >= 2
