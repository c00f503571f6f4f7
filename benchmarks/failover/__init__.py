"""How fast the service goes on when one of its processes ends: ``python -m benchmarks.failover``."""
