"""``python -m chaos``: attack the service with faults drawn at random, and verify what it promises."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from chaos.harness import Harness
from chaos.outcome import Fault
from chaos.pace import slowness
from chaos.report import as_json, goals, line, table

from benchmarks.report import publish


def main() -> int:
    """Run; 1 if anything was found."""
    asked = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # both end the faults, not the judgement
    directory = Path(tempfile.mkdtemp(prefix="stream-coreset-chaos-"))
    print(f"seed {asked.seed}, nodes {asked.nodes}, logs in {directory}", flush=True)
    print(f"time limits are stretched {slowness():.1f} times: this machine is that slow now", flush=True)
    with (directory / "faults.jsonl").open("w", buffering=1) as log:

        def note(fault: Fault) -> None:
            log.write(json.dumps(line(fault)) + "\n")

        outcome = Harness(
            asked.faults, asked.seed, asked.nodes, directory, lambda text: print(text, flush=True), note
        ).run()
    print(table(outcome))
    publish(as_json(outcome, asked.seed, asked.nodes), goals(outcome, asked.faults), asked.json)
    for finding in outcome.findings:
        print(f"FOUND: {finding}")
    if outcome.findings or asked.keep:
        print(f"the logs are in {directory}")
    else:
        shutil.rmtree(directory, ignore_errors=True)
    return 1 if outcome.findings else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=20, help="how many (default 20)")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="draws the faults")
    parser.add_argument("--nodes", type=int, choices=(1, 3), default=1, help="of Apache Kafka (default 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there, too")
    parser.add_argument("--keep", action="store_true", help="keep the logs also when all is well")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
