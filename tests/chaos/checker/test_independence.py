"""The checker is worth something only as long as it does not share the mistakes of what it checks."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MODULES = sorted(path for path in HERE.glob("*.py") if not path.name.startswith("test_"))
ALLOWED = {"kafka", "numpy", "orjson", "pyarrow", "chaos.checker"}
STANDARD = {"__future__", "collections", "contextlib", "dataclasses", "hashlib", "math", "queue", "re"}
STANDARD |= {"statistics", "threading", "time", "typing"}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: a relative import"
            yield str(node.module)
        elif isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in ("__import__", "import_module", "importlib.import_module")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_the_checker_imports_nothing_of_the_service(path: Path) -> None:
    for module in imported(path):
        known = any(module == one or module.startswith(f"{one}.") for one in ALLOWED | STANDARD)
        assert known, f"{path.name} imports {module}"
