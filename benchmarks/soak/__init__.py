"""Memory of the service over ten million examples: ``python -m benchmarks.soak``."""
