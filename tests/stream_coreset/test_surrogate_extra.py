"""The extra `surrogate`: the library does without it, and using it leaves no trace."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Nodes = list[onnx.NodeProto]

M, D = 400, 3


def test_the_library_works_without_the_extra() -> None:
    """In a process where the extra's packages cannot be found: importing, and select by clusters alone."""
    program = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in {'onnx', 'onnxruntime', 'skl2onnx', 'sklearn'}:\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import numpy as np\n"
        "import stream_coreset, stream_coreset.surrogate\n"
        "X = np.random.default_rng(0).normal(size=(200, 2))\n"
        "ask = lambda rows: np.ones(len(rows))\n"
        "print(len(stream_coreset.select(X, ask, n_clusters=4, size=10)))\n"
        "try:\n"
        "    stream_coreset.select(X, ask, n_clusters=4, size=10, surrogate='trees')\n"
        "except ValueError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0] == "10"
    assert "install the extra" in lines[1]


def test_nothing_is_written_and_nobody_is_told_by_using_it(tmp_path: Path) -> None:
    """onnxruntime 1.32 keeps a session of telemetry in the folder for temporary files once it is imported."""
    program = (
        "import numpy as np\n"
        "import stream_coreset\n"
        "X = np.random.default_rng(0).normal(size=(500, 2))\n"
        "loss = lambda rows: np.exp(X[rows, 0])\n"
        "stream_coreset.select(X, loss, n_clusters=8, size=20, surrogate='trees')\n"
        "import onnxruntime\n"
    )
    given = {**os.environ, "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], env=given, check=True)
    assert list(tmp_path.iterdir()) == []
