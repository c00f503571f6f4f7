"""The sections of the settings, each with its fields, limits and what they mean."""

from __future__ import annotations

from consumers.sections.common import Name, Positive, SettingsError
from consumers.sections.feedback import Feedback
from consumers.sections.kafka import Kafka, Topics
from consumers.sections.model import Endpoint, Learning
from consumers.sections.monitoring import Monitoring
from consumers.sections.sampling import DEFAULT_RATE, Sampling
from consumers.sections.stream import Clustering, Input, Window

__all__ = [
    "DEFAULT_RATE",
    "Clustering",
    "Endpoint",
    "Feedback",
    "Input",
    "Kafka",
    "Learning",
    "Monitoring",
    "Name",
    "Positive",
    "Sampling",
    "SettingsError",
    "Topics",
    "Window",
]
