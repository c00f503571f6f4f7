"""Defects planted on purpose: the service must have each of them in vain, for the checker finds it.

``plant(name)`` changes the modules of the running process; those that need a fault to show bring it along.
"""

from chaos.defects import transactions, versions, windows  # noqa: F401 - they register their defects
from chaos.defects.registry import DEFECTS, Defect

__all__ = ["DEFECTS", "NAMES", "Defect", "plant"]

NAMES = tuple(DEFECTS)


def plant(name: str) -> None:
    """Give this process the defect; ValueError where there is none of that name."""
    if name not in DEFECTS:
        raise ValueError(f"no defect {name!r}; there are: {', '.join(NAMES)}")
    DEFECTS[name].plant()
