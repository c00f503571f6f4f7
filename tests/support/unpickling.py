"""Finds in a Python program whatever could run code that data brings along."""

from __future__ import annotations

import ast
from collections.abc import Iterator

_MODULES = {
    "_pickle", "cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "multiprocessing.connection",
    "multiprocessing.managers", "pickle", "shelve", "xmlrpc",
}  # fmt: skip
_NAMES = {"eval", "exec", "__import__"}
_ATTRIBUTES = {
    "FullLoader", "PyExtensionType", "UnsafeLoader", "Unpickler", "deserialize", "deserialize_pandas",
    "full_load", "full_load_all", "read_pickle", "set_auto_load", "unsafe_load", "unsafe_load_all",
}  # fmt: skip
_SAFE_LOADERS = {"SafeLoader", "CSafeLoader", "BaseLoader"}


def unpickling(source: str) -> list[str]:
    """Say line by line what reads data as code: pickles of any kind, eval, unsafe YAML, Arrow's Python types.

    Examples
    --------
    >>> unpickling("from multiprocessing import managers")
    ['1: multiprocessing.managers']
    """
    tree = ast.parse(source)
    safe = _SAFE_LOADERS | {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and any(_last(base) in _SAFE_LOADERS for base in node.bases)
    }
    return [f"{node.lineno}: {what}" for node in ast.walk(tree) for what in _faults(node, safe)]  # type: ignore[attr-defined]


def _faults(node: ast.AST, safe_loaders: set[str]) -> Iterator[str]:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from (name for name in _imported(node) if _among(name, _MODULES))
    elif isinstance(node, ast.Name) and node.id in _NAMES:
        yield node.id
    elif isinstance(node, ast.Attribute) and node.attr in _ATTRIBUTES:
        yield node.attr
    elif isinstance(node, ast.Call):
        yield from _faults_of_call(node, safe_loaders)


def _imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [f"{node.module}.{alias.name}" for alias in node.names]


def _among(name: str, modules: set[str]) -> bool:
    return any(f"{name}.".startswith(f"{module}.") for module in modules)


def _faults_of_call(call: ast.Call, safe_loaders: set[str]) -> Iterator[str]:
    for word in call.keywords:
        if word.arg == "allow_pickle" and not (
            isinstance(word.value, ast.Constant) and word.value.value is False
        ):
            yield "allow_pickle"
    if isinstance(call.func, ast.Attribute) and _last(call.func.value) == "yaml":
        loaders = [*call.args[1:2], *(word.value for word in call.keywords if word.arg == "Loader")]
        if call.func.attr in ("load", "load_all") and not any(_last(one) in safe_loaders for one in loaders):
            yield f"yaml.{call.func.attr} without a safe loader"


def _last(node: ast.AST) -> str:
    """The last name of ``a.b.c``."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
