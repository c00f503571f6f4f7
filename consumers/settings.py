"""Every setting of the service: defaults < YAML file < environment < command line; unknown keys are refused.

A setting is ``STREAM_CORESET_INPUT__TOPIC`` in the environment, ``--input.topic`` on the command line and
``input: {topic: ...}`` in the file. Secrets come from files or the environment only and are never shown.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import pydantic_settings
import yaml
from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from consumers.sections import (
    DEFAULT_RATE,
    Clustering,
    Endpoint,
    Feedback,
    Input,
    Kafka,
    Learning,
    Monitoring,
    Name,
    Positive,
    Sampling,
    SettingsError,
    Topics,
    Window,
)
from stream_coreset.onnx_model import installed

__all__ = [
    "Clustering",
    "Endpoint",
    "Feedback",
    "Input",
    "Kafka",
    "Learning",
    "Monitoring",
    "Sampling",
    "Settings",
    "SettingsError",
    "Topics",
    "Window",
    "load_settings",
]

_PREFIX = "STREAM_CORESET_"
_MISTAKES = 10  # named in one sentence
_LONGEST_FILE = 100_000
Always = Literal["coreset", "windows", "statistics", "clusters", "dead_letters"]
Role = Always | Literal["estimates"]
ROLES: tuple[Always, ...] = get_args(Always)  # estimates are there only with a feedback topic


class Settings(BaseSettings):
    """All settings of one deployment."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
    )

    name: Name = Field(
        default="coreset", description="of the deployment: consumer groups, transactional ids, topics"
    )
    instance: Name = Field(
        default="0", description="of this sampler among its siblings; stable across restarts"
    )
    kafka: Kafka = Kafka()
    input: Input
    topics: Topics = Topics()
    window: Window = Window()
    sampling: Sampling = Sampling()
    clustering: Clustering = Clustering()
    endpoint: Endpoint = Endpoint()
    feedback: Feedback = Feedback()
    learning: Learning = Learning()
    monitoring: Monitoring = Monitoring()
    session_timeout_seconds: Positive = Field(
        default=10.0, description="a dead member's partitions move after this"
    )
    transaction_timeout_seconds: Positive = Field(
        default=20.0, description="a dead member's transaction ends after this"
    )
    grace_seconds: Positive = Field(default=10.0, description="for the window at hand when asked to stop")

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.window.max_bytes < self.input.max_message_bytes:
            raise ValueError("window.max_bytes must be at least input.max_message_bytes")
        if self.learning.surrogate == "trees" and self.sampling.epsilon is not None:
            raise ValueError(
                "sampling.epsilon is about the scores of clusters: learning.surrogate must be none"
            )
        if self.learning.surrogate == "trees" and not installed():
            raise ValueError(
                "learning.surrogate is trees, but its packages are missing: "
                "pip install 'stream-coreset[surrogate]'"
            )
        self._check_groups()
        topics = [self.input.topic, *(self.topic(role) for role in self.roles)]
        if self.feedback.topic is not None:
            topics.append(self.feedback.topic)
        if len(set(topics)) < len(topics):
            raise ValueError(f"two topics have the same name: {', '.join(sorted(topics))}")
        return self

    def _check_groups(self) -> None:
        sampling = self.sampling
        least, rate = sampling.min_group_rate, sampling.rate
        if (sampling.size, sampling.per_hour) == (None, None):
            rate = rate or DEFAULT_RATE
        if (least is None) is not (self.input.group is None):
            raise ValueError("give both input.group and sampling.min_group_rate, or neither")
        if least is not None and self.sampling.epsilon is not None:
            raise ValueError("sampling.epsilon bounds the error for all alike: min_group_rate needs a rate")
        if least is not None and rate is not None and least > rate:
            raise ValueError("sampling.min_group_rate must be at most sampling.rate, which all have")

    @property
    def roles(self) -> tuple[Role, ...]:
        """Our topics that there are."""
        return ROLES if self.feedback.topic is None else (*ROLES, "estimates")

    def topic(self, role: Role) -> str:
        """Name of one of our topics."""
        named: str = getattr(self.topics, role)
        return named or f"{self.name}-{role.replace('_', '-')}"

    def group(self, role: Literal["sampler", "clusterer"]) -> str:
        """Name of the consumer group of a role."""
        return f"{self.name}-{role}"

    @property
    def learns(self) -> bool:
        """Whether a surrogate is learned and used: as set, by default where its packages are installed."""
        asked = self.learning.surrogate
        return self.sampling.epsilon is None and (installed() if asked is None else asked == "trees")

    def stream_digest(self) -> str:
        """SHA-256 of the settings that say which stream this is; a name keeps its stream for life."""
        which = [self.input.topic, self.input.format, self.input.embedding, self.input.dimension]
        return hashlib.sha256(json.dumps(which).encode()).hexdigest()


def load_settings(config: Path | None = None, **overrides: Any) -> Settings:
    """Read the settings from all their places.

    Parameters
    ----------
    config : Path, optional
        A YAML file.
    **overrides
        Values of the command line; they win. A section is given as a mapping and merged.

    Raises
    ------
    SettingsError
        One sentence that names every setting that is wrong or unknown.
    """
    try:
        return Settings(**_layers(config, overrides))
    except ValidationError as error:
        raise SettingsError(_sentence(error)) from None
    except RecursionError:
        raise SettingsError("settings: nested too deeply") from None


def _layers(config: Path | None, overrides: Mapping[str, Any]) -> dict[str, Any]:
    layers: dict[str, Any] = {"input": {}} if config is None else {"input": {}, **_read_yaml(config)}
    for layer in (_read_environment(), overrides):
        layers = _merge(layers, layer)
    unknown = [_shown(name) for name in layers if name not in Settings.model_fields]
    if unknown:  # Settings itself would take some, such as _env_file, for orders
        raise SettingsError(f"there is no setting {', '.join(unknown[:_MISTAKES])}")
    return layers


class _Loader(yaml.SafeLoader):
    """Refuses a key that comes twice: the first one's settings would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Make a dictionary; ConstructorError for a key that comes twice."""
        seen = set[tuple[str, str]]()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in seen:
                raise yaml.constructor.ConstructorError(None, None, "a key comes twice", key.start_mark)
            seen.add((key.tag, str(key.value)))
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_LONGEST_FILE + 1)
        if len(text) > _LONGEST_FILE:  # PyYAML's time may grow with the square of it
            raise SettingsError(f"{path} has more than {_LONGEST_FILE:,} characters: no file of settings")
        loaded = yaml.load(text, _Loader) or {}  # noqa: S506  (a safe one)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the settings in {path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is not YAML: {_without_text(error)}") from None
    except (ValueError, LookupError, AttributeError):  # of PyYAML, which trusts its input
        raise SettingsError(
            f"{path} holds a date that does not exist, a number of thousands of digits, or a tag that does "
            "not fit its value: quote the value or take it out"
        ) from None
    if not isinstance(loaded, dict) or not all(isinstance(key, str) for key in loaded):
        raise SettingsError(f"{path} must hold sections such as `input:`, each with its settings")
    return {key: value for key, value in loaded.items() if value is not None}  # a section of comments only


def _without_text(error: yaml.YAMLError) -> str:
    """What is wrong and where; not the text around it, which may hold a secret."""
    mark = getattr(error, "problem_mark", None)
    where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    problem = getattr(error, "problem", None) or "it holds a character that YAML forbids"
    return re.sub(r"'[^']*'", "'...'", problem) + where


def _read_environment() -> dict[str, Any]:
    for name in sorted(os.environ):
        field = name.upper().removeprefix(_PREFIX).split("__")[0].lower()
        if name.upper().startswith(_PREFIX) and field not in Settings.model_fields:
            said = f"the environment sets {_shown(name)}, but there is no setting {_shown(field)}"
            raise SettingsError(said)
    try:
        found: dict[str, Any] = EnvSettingsSource(Settings)()
    except pydantic_settings.SettingsError as error:  # it repeats what it cannot read, which may be a secret
        raise SettingsError(
            f"the environment: {str(error).partition(' from source')[0]}: give JSON"
        ) from None
    return found


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            value = _merge(below, value)  # noqa: PLW2901
        merged[key] = value
    return merged


def _sentence(error: ValidationError) -> str:
    """Every mistake with its name; never the value, which may be a secret."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    more = f"; and {len(found) - _MISTAKES} more" if len(found) > _MISTAKES else ""
    said = (_mistake(one["loc"], one["type"], one["msg"]) for one in found[:_MISTAKES])
    return f"settings: {'; '.join(said)}{more}"


def _shown(name: str) -> str:
    """A name that may be anything, fit for one line."""
    return (name if name.isidentifier() else repr(name))[:60]


def _mistake(location: tuple[int | str, ...], kind: str, message: str) -> str:
    # The location of a member of a union ends with the member's type: only names of ours are shown.
    names = [str(part)[:60] for part in location if isinstance(part, int) or part.isidentifier()]
    name = ".".join(names[:2])
    if kind == "missing":
        variable = _PREFIX + name.upper().replace(".", "__")
        return f"{name} is required: set it in the file, as --{name} or as {variable}"
    if kind == "extra_forbidden":
        return f"there is no setting {name}"
    said = message.removeprefix("Value error, ")
    return f"{name}: {said}" if name else said
