"""What the project promises about itself: its README runs, its exports exist, nothing is unpickled."""

from __future__ import annotations

import io
import re
import runpy
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from support.unpickling import unpickling

import stream_coreset
from consumers.codecs import codec_for
from consumers.sections import Input
from consumers.transform import InputRecord

ROOT = Path(__file__).parent.parent
FOLDERS = ("stream_coreset", "consumers", "benchmarks", "tests", "deploy", ".ci")
PYTHON = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def test_the_python_of_the_readme_runs(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        program = tmp_path / "readme.py"
        program.write_text(block)
        names = runpy.run_path(str(program))
        truth = float(np.linalg.norm(names["X"], axis=1).sum())
        assert names["estimate"] == pytest.approx(truth, rel=0.1)


def test_all_exports_exist():
    assert all(hasattr(stream_coreset, name) for name in stream_coreset.__all__)


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_unpickled_or_evaluated(path: Path) -> None:
    assert unpickling(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "bad",
    [
        "import pickle",
        "import joblib.numpy_pickle",
        "from cloudpickle import loads",
        "from multiprocessing.managers import BaseManager",
        "eval(text)",
        "run = exec",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=wanted)",
        "yaml.load(text)",
        "yaml.load(text, yaml.Loader)",
        "yaml.load_all(text, Loader=yaml.FullLoader)",
        "yaml.unsafe_load(text)",
        "pandas.read_pickle(path)",
        "class Mine(pa.PyExtensionType): pass",
        "pa.PyExtensionType.set_auto_load(True)",
    ],
)
def test_unpickling_would_be_found(bad: str) -> None:
    assert unpickling(bad)


@pytest.mark.parametrize(
    "good",
    [
        "yaml.safe_load(text)",
        "np.load(path, allow_pickle=False)",
        "class Own(yaml.SafeLoader): pass\nyaml.load(t, Own)",
    ],
)
def test_what_is_safe_is_not_taken_for_unpickling(good: str) -> None:
    assert unpickling(good) == []


def test_arrow_does_not_unpickle_a_type_that_says_it_is_python(tmp_path: Path) -> None:
    marker = f"cos\nsystem\n(S'touch {tmp_path}/ran'\ntR.".encode()  # a pickle that would run a command
    python_type = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": marker}
    field = pa.field("embedding", pa.list_(pa.float32(), 2), metadata=python_type)
    batch = pa.record_batch([pa.array([[1.0, 2.0]], field.type)], schema=pa.schema([field]))
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    given = Input(topic="examples", format="arrow", dimension=2)
    decoded = codec_for(given).decode(InputRecord("examples", 0, 0, None, sink.getvalue(), (), 0))
    assert decoded.rows == 1
    assert not list(tmp_path.iterdir())
