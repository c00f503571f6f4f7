"""What the project promises about itself: its README runs, its exports exist, nothing is unpickled."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import stream_coreset

ROOT = Path(__file__).parent.parent
SOURCES = [*ROOT.glob("stream_coreset/**/*.py"), *ROOT.glob("consumers/**/*.py")]


def test_the_python_of_the_readme_runs():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        names: dict[str, object] = {}
        exec(compile(block, "README.md", "exec"), names)
        truth = float(np.linalg.norm(names["X"], axis=1).sum())
        assert names["estimate"] == pytest.approx(truth, rel=0.1)


def test_all_exports_exist():
    assert all(hasattr(stream_coreset, name) for name in stream_coreset.__all__)


@pytest.mark.parametrize(
    "word", ["import pickle", "from pickle", "joblib", "marshal", "allow_pickle=True", "eval("]
)
def test_nothing_is_unpickled_or_evaluated(word):
    assert SOURCES
    assert not [path for path in SOURCES if re.search(rf"(?<![.\w]){re.escape(word)}", path.read_text())]
