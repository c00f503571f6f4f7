"""What the sections share: types with their limits, and secrets in files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from consumers.errors import ServiceError

__all__ = ["Fraction", "Name", "OptionalName", "Positive", "Section", "SettingsError", "Whole", "secret"]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Whole = Annotated[int, Field(le=2**31 - 1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")]
OptionalName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,200}$")]


class SettingsError(ServiceError):
    """The settings cannot be used; the message names each one that is wrong."""


class Section(BaseModel):
    """Refuses names that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def secret(value: SecretStr | None, file: Path | None) -> str | None:
    """A secret, from the setting or its file; None without one."""
    if file is None:
        return None if value is None else value.get_secret_value()
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the secret in {file} cannot be read: {error}") from None
