"""How good the sample is, beside uniform sampling, the paper and peers: ``python -m benchmarks.quality``."""
