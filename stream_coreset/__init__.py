"""A small weighted sample of a stream whose weighted loss is an unbiased estimate of the loss of all of it.

Axiotis et al., "Data-Efficient Learning via Clustering-Based Sensitivity Sampling", ICML 2024, carried from
one batch to an endless stream. Arrays in, arrays out: NumPy or CuPy through one code.
"""

from __future__ import annotations

from stream_coreset.clusters import Clusters
from stream_coreset.coreset import StreamingCoreset
from stream_coreset.kmeans import Assignment, MiniBatchKMeans, WeightedPoints
from stream_coreset.known_losses import KnownLosses
from stream_coreset.labels import LabelBuffer
from stream_coreset.limits import Limits
from stream_coreset.prediction import Prediction
from stream_coreset.sample import Sample
from stream_coreset.selection import Coreset, select
from stream_coreset.sensitivity import SensitivitySampler
from stream_coreset.surrogate import Surrogate

__all__ = [
    "Assignment",
    "Clusters",
    "Coreset",
    "KnownLosses",
    "LabelBuffer",
    "Limits",
    "MiniBatchKMeans",
    "Prediction",
    "Sample",
    "SensitivitySampler",
    "StreamingCoreset",
    "Surrogate",
    "WeightedPoints",
    "select",
]
