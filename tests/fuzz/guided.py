"""Coverage-guided fuzzing of one target, by hand: ``python -m fuzz.guided TARGET [options of libFuzzer]``.

Atheris is no dependency of the project. It runs in an environment of its own, with Python 3.11 to 3.13::

    python3.11 -m venv /tmp/guided && /tmp/guided/bin/pip install atheris -r requirements/service.lock
    cd tests && PYTHONPATH=..:. /tmp/guided/bin/python -m fuzz.guided arrow -runs=300000 -max_len=8192 corpus
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path
from random import Random

__all__ = ["main"]


def main() -> None:
    """Instrument what parses, begin with the valid inputs and the corpus, and fuzz until a finding."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(
        include=["consumers", "yaml", "pydantic_settings", "email", "h11", "tritonclient"]
    ):
        from fuzz.inputs import change
        from fuzz.mutation import MAX_BYTES
        from fuzz.seeds import seeds
        from fuzz.targets import TARGETS

    target = sys.argv.pop(1)
    folder = Path(tempfile.mkdtemp(prefix=f"guided-{target}-"))
    for number, seed in enumerate(seeds(target)):
        (folder / f"seed-{number}").write_bytes(seed)

    def mutate(value: bytes, size: int, seed: int) -> bytes:
        rng = Random(seed)
        changed = atheris.Mutate(value, size) if rng.random() < 0.6 else change(target, rng, value)
        return changed[: min(size, MAX_BYTES)]

    atheris.Setup([*sys.argv, str(folder)], TARGETS[target], custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
