"""What we depend on: every file pinned by its hash, known vulnerabilities judged and not passed over."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))


@pytest.fixture(scope="module")
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dependency_audit", ROOT / ".ci" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_requirement_is_pinned_by_hash(lock: Path) -> None:
    requirements = re.split(r"\n(?=\S)", lock.read_text().strip())
    assert requirements
    for one in requirements:
        assert re.match(r"[A-Za-z0-9._-]+==[^ ]+( ; [^\\]+)? \\\n", one), one
        assert re.search(r"--hash=sha256:[0-9a-f]{64}$", one), one


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_no_place_is_named_from_which_packages_come(lock: Path) -> None:
    assert not re.search(r"://|index-url|find-links|trusted-host| @ |\.org|\.com", lock.read_text())


# --- the judgement, on answers as pip-audit 2.10 writes them

GOOD = {"name": "httpx", "version": "0.28.1", "vulns": []}
FIXABLE = {
    "name": "flask",
    "version": "0.5",
    "vulns": [{"id": "PYSEC-2019-179", "fix_versions": ["1.0"], "aliases": ["CVE-2019-1010083"]}],
}
UNFIXED = {"name": "old", "version": "1.0", "vulns": [{"id": "GHSA-1", "fix_versions": [], "aliases": []}]}
SKIPPED = {
    "name": "anyio",
    "skip_reason": "Dependency not found on PyPI and could not be audited: anyio (4.16.0)",
}


def answer(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def test_all_is_well(program: ModuleType) -> None:
    verdict = program.judge(answer(GOOD, GOOD))
    assert verdict == program.Verdict(False, ("2 packages audited, 0 known vulnerabilities",))


def test_a_vulnerability_that_has_been_fixed_fails(program: ModuleType) -> None:
    verdict = program.judge(answer(GOOD, FIXABLE), "Found 1 known vulnerability in 1 package")
    assert verdict.fails
    assert "flask 0.5: PYSEC-2019-179: update to 1.0" in verdict.lines


def test_one_that_nobody_has_fixed_is_listed(program: ModuleType) -> None:
    verdict = program.judge(answer(GOOD, UNFIXED))
    assert not verdict.fails
    assert "old 1.0: GHSA-1: no fixed version yet" in verdict.lines


@pytest.mark.parametrize("packages", [(SKIPPED, SKIPPED), ()])
def test_nothing_audited_is_said_loudly(program: ModuleType, packages: Any) -> None:
    verdict = program.judge(answer(*packages), "No known vulnerabilities found")
    assert not verdict.fails
    assert verdict.lines[0].startswith("NOT AUDITED: the advisory service cannot be reached")


def test_an_answer_that_is_not_whole_fails(program: ModuleType) -> None:
    verdict = program.judge(answer(GOOD, SKIPPED))
    assert verdict.fails
    assert "PARTLY AUDITED: no answer about anyio" in verdict.lines


@pytest.mark.parametrize(
    ("complaint", "fails", "says"),
    [
        ("ERROR:pip_audit._cli:Could not connect to the vulnerability feed", False, "NOT AUDITED"),
        ("ERROR:pip_audit._cli:requirement x does not contain a hash", True, "does not contain a hash"),
        ("", True, "no word"),
    ],
)
def test_no_answer_at_all(program: ModuleType, complaint: str, fails: bool, says: str) -> None:
    verdict = program.judge("", complaint)
    assert verdict.fails is fails
    assert says in verdict.lines[0]


def test_the_exit_code_is_that_of_the_worst(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {"a.lock": answer(GOOD), "b.lock": answer(FIXABLE)}
    monkeypatch.setattr(program, "audit", lambda lock: program.judge(found[lock.name]))
    assert program.main(["a.lock"]) == 0
    assert program.main(["a.lock", "b.lock"]) == 1
    assert "b.lock: flask 0.5" in capsys.readouterr().out


def test_every_lock_file_is_audited(program: ModuleType) -> None:
    assert program.LOCKS == LOCKS
    assert {"service.lock", "dev.lock"} <= {lock.name for lock in LOCKS}
    assert "make audit" in (ROOT / ".ci" / "run").read_text()
