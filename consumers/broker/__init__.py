"""Apache Kafka from two PyPI packages, as child processes: for the demo, the tests and the benchmarks."""

from __future__ import annotations

from consumers.broker.cluster import Broker, broker_or_environment

__all__ = ["Broker", "broker_or_environment"]
