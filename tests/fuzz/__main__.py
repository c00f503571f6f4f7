"""``python -m fuzz [--inputs N] [--seed S] [--json FILE]``: hostile inputs through every parser of bytes.

The ones that a parser did not bear are kept in the folder that ``--keep`` names, to be tried again with
``python -m fuzz --try TARGET FILE``.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fuzz.driver import jobs_of, run
from fuzz.targets import TARGETS
from fuzz.worker import GROWTH_BYTES, SECONDS

from benchmarks.report import Goal, publish

_LIBRARIES = (
    "pyarrow",
    "orjson",
    "pydantic",
    "pydantic-settings",
    "PyYAML",
    "httpx",
    "h11",
    "numpy",
    "tritonclient",
    "onnx",
    "onnxruntime",
)


def main() -> int:
    """Run, print what came of it; 1 with a finding."""
    arguments = _arguments()
    if arguments.attempt:
        target, path = arguments.attempt
        print(TARGETS[target](Path(path).read_bytes()))
        return 0
    began = time.monotonic()
    results = run(
        jobs_of(arguments.inputs),
        seed=arguments.seed,
        children=arguments.children,
        progress=lambda text: print(f"\r{text:<60}", end="", file=sys.stderr, flush=True),
    )
    seconds = time.monotonic() - began
    findings = [{"target": name, **one} for name, result in results.items() for one in result.pop("findings")]
    _keep(findings, arguments.keep)
    print()
    for name, result in sorted(results.items()):
        print(_line(name, result))
    what = {
        "benchmark": "fuzz",
        "seed": arguments.seed,
        "seconds": round(seconds),
        "limits": {"memory_bytes": GROWTH_BYTES, "cpu_seconds": {"default": 2.0, **SECONDS}},
        "versions": {name: version(name) for name in _LIBRARIES} | {"system": platform.platform()},
        "targets": {name: _shown(result) for name, result in results.items()},
        "findings": findings,
    }
    publish(what, _goals(results, findings, arguments.inputs), arguments.json)
    return 1 if findings else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--inputs", type=int, default=20_000, metavar="N", help="inputs in all (default 20,000)"
    )
    parser.add_argument("--seed", default="1", metavar="S", help="the same seed makes the same inputs")
    parser.add_argument(
        "--children", type=int, default=2, metavar="N", help="processes at a time (default 2)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there, too")
    parser.add_argument(
        "--keep",
        type=Path,
        default=Path("findings"),
        metavar="DIR",
        help="where inputs go that broke something",
    )
    parser.add_argument(
        "--try", dest="attempt", nargs=2, metavar=("TARGET", "FILE"), help="take one input again"
    )
    return parser.parse_args()


def _goals(results: dict[str, dict[str, Any]], findings: list[dict[str, Any]], asked: int) -> list[Goal]:
    inputs = sum(result["inputs"] for result in results.values())
    counted = sum(sum(result["outcomes"].values()) for result in results.values())
    kinds = {"crashes": ("crash",), "hangs": ("standstill", "slow"), "memory beyond the limit": ("memory",)}
    told = {name: sum(one["what"] in what for one in findings) for name, what in kinds.items()}
    told["undocumented exceptions and broken invariants"] = sum(
        one["what"] == "exception" for one in findings
    )
    goals = [Goal(name, 0, number, at_least=False) for name, number in told.items()]
    return [
        Goal("inputs", asked, inputs),
        *goals,
        Goal("share of the inputs that is counted", 1, counted / inputs),
    ]


def _line(name: str, result: dict[str, Any]) -> str:
    accepted = result["outcomes"].get("accepted", 0)
    refused = {kind: n for kind, n in result["outcomes"].most_common() if kind != "accepted"}
    often = ", ".join(f"{kind} {n:,}" for kind, n in list(refused.items())[:4])
    counts = f"{result['inputs']:>9,} inputs {accepted:>9,} accepted {sum(refused.values()):>9,} refused"
    return f"{name:>13} {counts}: {often}"


def _shown(result: dict[str, Any]) -> dict[str, Any]:
    outcomes = dict(result["outcomes"].most_common())
    accepted = outcomes.pop("accepted", 0)
    rest = {name: value for name, value in result.items() if name != "outcomes"}
    return {**rest, "accepted": accepted, "refused": sum(outcomes.values()), "refused_by_kind": outcomes}


def _keep(findings: list[dict[str, Any]], folder: Path) -> None:
    """Write the inputs of findings to files, and say where instead."""
    for one in findings:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{one['target']}-{one['what']}-{one['index']}"
        path.write_bytes(bytes.fromhex(one.pop("input")))
        one["says"] = one["says"].strip().splitlines()[-1]
        print(f"\nfinding: {one['what']} of {one['target']}, input in {path}: {one['says']}")


if __name__ == "__main__":
    sys.exit(main())
