"""The runtime is imported by mlserver, in an environment of its own; there is nothing to collect here."""

collect_ignore = ["runtime.py"]
