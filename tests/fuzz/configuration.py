"""Targets: settings from a file, the environment and the command line."""

from __future__ import annotations

import argparse
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from unittest.mock import patch

from fuzz.contract import ACCEPTED, SECRET, kind_of, require

from consumers.budget import sensitivity_sampler
from consumers.flags import add_settings, read_settings
from consumers.settings import Settings, SettingsError, load_settings

__all__ = ["environment", "flags", "yaml"]

_PREFIX = "STREAM_CORESET_"
_MOST_WORDS = 300  # argparse takes time with their square
_LONGEST = 131_000  # that the kernel lets a variable have


def yaml(value: bytes) -> str:
    """A settings file."""
    path = _directory() / "settings.yaml"
    path.write_bytes(value)
    with _environment({}):
        return _loaded(path)


def environment(value: bytes) -> str:
    """Variables, one a line; names get the prefix of ours."""
    lines = (line.partition(b"=") for line in value.replace(b"\0", b"").split(b"\n"))
    pairs = ((os.fsdecode(name), os.fsdecode(text)[:_LONGEST]) for name, _, text in lines)
    named = {
        _PREFIX + name[:_LONGEST]: text for name, text in pairs if SECRET not in name
    }  # no place for one
    with _environment(named):
        return _loaded(None)


def flags(value: bytes) -> str:
    """Words of a command line, one a line."""
    with (
        _environment({}),
        open(os.devnull, "w", errors="backslashreplace") as nowhere,
        patch("sys.stderr", nowhere),
        patch("sys.stdout", nowhere),
    ):
        try:
            given = _parser().parse_args([os.fsdecode(word) for word in value.split(b"\n")[:_MOST_WORDS]])
        except SystemExit as end:
            require(end.code in (0, 2), f"it ended with {end.code}")
            return "usage"
        try:
            return _checked(read_settings(given))
        except SettingsError as error:
            return _refused(error)


def _loaded(path: Path | None) -> str:
    try:
        return _checked(load_settings(path))
    except SettingsError as error:
        return _refused(error)


def _refused(error: SettingsError) -> str:
    require(SECRET not in str(error), "a refusal that tells a secret")
    require(str(_directory()) not in str(error) or len(str(error)) < 1000, "a long refusal")
    return kind_of(error)


def _checked(settings: Settings) -> str:
    require(SECRET not in repr(settings) + str(settings), "settings that show a secret")
    require(1 <= settings.input.dimension <= 65_536, f"dimension {settings.input.dimension}")
    sampling = settings.sampling
    for given in (sampling.rate, sampling.size, sampling.epsilon):
        require(given is None or (math.isfinite(given) and given > 0), f"a budget of {given}")
    require(math.isfinite(sensitivity_sampler(settings).expected_size(1000)), "a sample of no finite size")
    settings.stream_digest().encode()
    return ACCEPTED


@contextmanager
def _environment(named: Mapping[str, str]) -> Iterator[None]:
    kept = {name: text for name, text in os.environ.items() if not name.upper().startswith(_PREFIX)}
    with patch.dict(os.environ, {**kept, **named}, clear=True):
        yield


@cache
def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_settings(parser)
    return parser


@cache
def _directory() -> Path:
    return Path(tempfile.mkdtemp(prefix="fuzz-"))
