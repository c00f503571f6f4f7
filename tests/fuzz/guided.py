"""Coverage-guided fuzzing of one target, by hand: ``python -m fuzz.guided TARGET [options of libFuzzer]``.

Atheris is no dependency of the project. It runs in an environment of its own, with Python 3.11 to 3.13::

    python3.11 -m venv /tmp/guided && /tmp/guided/bin/pip install atheris -r requirements/service.lock
    cd tests && PYTHONPATH=..:. /tmp/guided/bin/python -m fuzz.guided arrow -runs=300000 fuzz/corpus/arrow
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path

__all__ = ["main"]


def main() -> None:
    """Instrument what parses, begin with the valid inputs and the corpus, and fuzz until a finding."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(
        include=["consumers", "yaml", "pydantic_settings", "email", "h11", "json"]
    ):
        from fuzz.inputs import seeds
        from fuzz.targets import TARGETS

    target = sys.argv.pop(1)
    folder = Path(tempfile.mkdtemp(prefix=f"guided-{target}-"))
    for number, seed in enumerate(seeds(target)):
        (folder / f"seed-{number}").write_bytes(seed)
    atheris.Setup([*sys.argv, str(folder)], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
