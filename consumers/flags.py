"""Settings as command-line flags: ``--config FILE`` and one ``--section.name`` for each setting."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from consumers.settings import Settings, SettingsError, load_settings

__all__ = ["add_settings", "flags_of", "read_settings"]

_METAVARS = {bool: "BOOL", int: "N", float: "X", Path: "FILE", dict: "JSON"}


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add ``--config`` and a described flag for every setting that is no secret."""
    parser.usage = "%(prog)s [--help] [OPTION ...] [--config FILE] [--SECTION.SETTING VALUE ...]"
    own = parser.add_argument_group("settings", "defaults < file < environment < these flags")
    own.add_argument("--config", type=Path, metavar="FILE", help="YAML file with the settings")
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            group = parser.add_argument_group(name, section.__doc__)
            for inner, one in section.model_fields.items():
                _add(group, f"{name}.{inner}", one)
        else:
            _add(own, name, field)
    parser.epilog = "Secrets are no flags but in the environment: " + ", ".join(_secrets())


def read_settings(arguments: argparse.Namespace) -> Settings:
    """Load the settings that `arguments`, parsed with `add_settings`, ask for.

    Raises
    ------
    SettingsError
        One sentence that names what is wrong.
    """
    overrides: dict[str, Any] = {}
    for name, text in vars(arguments).items():
        section, _, inner = name.partition(".")
        if inner:
            overrides.setdefault(section, {})[inner] = _value(name, text)
        elif name in Settings.model_fields:
            overrides[name] = _value(name, text)
    return load_settings(arguments.config, **overrides)


def flags_of(arguments: argparse.Namespace) -> list[str]:
    """The flags that lead to the same settings in another process."""
    given = {} if arguments.config is None else {"config": str(arguments.config)}
    for name, text in vars(arguments).items():
        if name.partition(".")[0] in Settings.model_fields:
            given[name] = text
    return [f"--{name}={text}" for name, text in given.items()]


def _add(group: argparse._ArgumentGroup, name: str, field: FieldInfo) -> None:
    if _is_secret(field):
        return
    default = (
        "required"
        if field.is_required()
        else f"default {_shown(field.get_default(call_default_factory=True))}"
    )
    says = f"{field.description} ({default})".replace("%", "%%")
    optional: dict[str, Any] = {"nargs": "?", "const": "true"} if field.annotation is bool else {}
    group.add_argument(
        f"--{name}", dest=name, metavar=_metavar(field), default=argparse.SUPPRESS, help=says, **optional
    )


def _kinds(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in (None, Literal, dict):
        yield annotation
    else:
        for inner in get_args(annotation):
            yield from _kinds(inner)


def _metavar(field: FieldInfo) -> str:
    kinds = [kind for kind in _kinds(field.annotation) if kind is not type(None)]
    if len(kinds) == 1 and get_origin(kinds[0]) is Literal:
        return "|".join(map(str, get_args(kinds[0])))
    return next((_METAVARS[kind] for kind in map(_plain, kinds) if kind in _METAVARS), "TEXT")


def _plain(kind: Any) -> Any:
    return get_origin(kind) or kind


def _is_secret(field: FieldInfo) -> bool:
    return SecretStr in _kinds(field.annotation)


def _secrets() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            for inner, one in section.model_fields.items():
                if _is_secret(one):
                    yield f"STREAM_CORESET_{name}__{inner}".upper()


def _shown(default: Any) -> str:
    if default is None or default in ("", {}):
        return "none"
    return str(default).lower() if isinstance(default, bool) else str(default)


def _value(name: str, text: str) -> Any:
    if text == "null":
        return None  # takes back what the file says
    return _options(text) if name == "kafka.options" else text


def _options(text: str) -> Any:
    try:
        options = json.loads(text)
    except (ValueError, RecursionError):
        options = None
    if not isinstance(options, dict):
        raise SettingsError("settings: kafka.options: give a JSON object")
    secret = [one for one in options if re.search("password|proxy", one)]
    if secret:
        raise SettingsError(
            f"settings: kafka.options: {secret[0]!r:.60} may be a secret, and everybody on this machine sees "
            "command lines; give it in the file or in STREAM_CORESET_KAFKA__OPTIONS"
        )
    return options
