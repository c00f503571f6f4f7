"""What every target keeps: a result whose invariants hold, or a refusal of the documented kind."""

from __future__ import annotations

import re

__all__ = ["ACCEPTED", "SECRET", "BrokenContract", "kind_of", "require"]

ACCEPTED = "accepted"
SECRET = "hush-a-secret"  # in inputs; never in what is said of them
_VARIABLE = re.compile(r"'[^']*'|\"[^\"]*\"|\S*\d\S*|[^\x20-\x7e]+")
_SIGNS_OF_A_BOMB = re.compile(r"\b(malloc|realloc|allocat|MemoryError|bad_alloc)", re.IGNORECASE)
# orjson reserves what so many bytes of valid JSON could need, and says this of some that cannot be valid.
_NO_BOMB = "failed to allocate memory: line"
_LONGEST_SENTENCE = 1_500


class BrokenContract(AssertionError):  # noqa: N818  (what it is called)
    """A parser accepted what it must not, or refused in a way that it must not."""


def require(holds: object, sentence: str) -> None:
    """Raise `BrokenContract` unless something holds; unlike assert also under ``-O``."""
    if not holds:
        raise BrokenContract(sentence)


def kind_of(refusal: BaseException | str) -> str:
    """Return what a refusal says without what varies with the input, to count it by.

    >>> kind_of(ValueError("version 7: its digest 'abc' does not match"))
    'version * its digest * does not match'
    """
    said = str(refusal)
    require(said and len(said) <= _LONGEST_SENTENCE, f"a refusal of {len(said)} characters")
    require("\n" not in said, f"a refusal of several lines: {said!r}")
    require(
        _NO_BOMB in said or not _SIGNS_OF_A_BOMB.search(said), f"refused only when memory was short: {said!r}"
    )
    return _VARIABLE.sub("*", said)[:70]
