"""What the roles say before they begin."""

from __future__ import annotations

import importlib.util
import threading

import pytest
from support.loop import settings

from consumers.errors import ServiceError
from consumers.roles.sampler import run_sampler


@pytest.mark.skipif(importlib.util.find_spec("cupy") is not None, reason="CuPy is installed")
def test_cuda_without_a_device():
    asked = settings(clustering={"device": "cuda"})
    with pytest.raises(ServiceError, match=r"clustering.device is cuda: .* choose device cpu or auto"):
        run_sampler(asked, threading.Event())
