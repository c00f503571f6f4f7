"""Ask for the known vulnerabilities of everything that the lock files pin; fails on one that has been fixed.

``python .ci/audit.py [LOCK ...]``, by default all of ``requirements/``. Exit code 0: nothing that an update
would mend, or NOT AUDITED, which is then said; 1: update something, or the answer was not whole.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOCKS = sorted((Path(__file__).parents[1] / "requirements").glob("*.lock"))
UNREACHABLE = "the advisory service cannot be reached"
_SECONDS = 120
_NO_CONNECTION = ("connect", "timed out", "timeout", "name resolution", "max retries")


@dataclass(frozen=True)
class Verdict:
    """What is known about one lock file; `fails` says whether somebody has to do something."""

    fails: bool
    lines: tuple[str, ...]


def judge(answer: str, complaint: str = "") -> Verdict:
    """Judge what pip-audit wrote as JSON, and what it wrote beside it.

    A package that was skipped has not been audited: all of them mean that nobody was there to ask, some of
    them that the answer is not whole.
    """
    try:
        packages: list[dict[str, Any]] = json.loads(answer)["dependencies"]
    except (ValueError, KeyError):
        if any(sign in complaint.lower() for sign in _NO_CONNECTION):
            return Verdict(False, (f"NOT AUDITED: {UNREACHABLE}",))
        return Verdict(True, (f"pip-audit failed: {(complaint.strip().splitlines() or ['no word'])[-1]}",))
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if not packages or len(skipped) == len(packages):
        return Verdict(False, (f"NOT AUDITED: {UNREACHABLE} ({len(skipped)} packages)",))
    found = [(package, one) for package in packages for one in package.get("vulns", ())]
    lines = [_described(package, one) for package, one in found]
    if skipped:
        lines.append(f"PARTLY AUDITED: no answer about {', '.join(skipped)}")
    audited = f"{len(packages) - len(skipped)} packages audited, {len(found)} known vulnerabilities"
    return Verdict(bool(skipped) or any(one["fix_versions"] for _, one in found), (*lines, audited))


def _described(package: dict[str, Any], vulnerability: dict[str, Any]) -> str:
    fixed = vulnerability["fix_versions"]
    mend = f"update to {' or '.join(fixed)}" if fixed else "no fixed version yet"
    return f"{package['name']} {package['version']}: {vulnerability['id']}: {mend}"


def audit(lock: Path) -> Verdict:
    """Ask about one lock file."""
    command = [sys.executable, "-m", "pip_audit", "-r", str(lock), "--require-hashes", "--disable-pip"]
    command += ["--format", "json", "--desc", "off", "--progress-spinner", "off", "--timeout", "10"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Verdict(False, (f"NOT AUDITED: {UNREACHABLE} (no answer within {_SECONDS} s)",))
    return judge(done.stdout, done.stderr)


def main(words: Sequence[str]) -> int:
    """Audit the lock files; returns the exit code."""
    locks = [Path(word) for word in words] or LOCKS
    with ThreadPoolExecutor(len(locks)) as pool:
        verdicts = list(pool.map(audit, locks))
    for lock, verdict in zip(locks, verdicts, strict=True):
        for line in verdict.lines:
            print(f"{lock.name}: {line}")
    return int(any(verdict.fails for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
