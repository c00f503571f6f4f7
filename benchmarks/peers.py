"""The peers of the end-to-end benchmark, each a process of its own: ``python -m benchmarks.peers NAME ...``.

They print one line of JSON: examples, seconds, CPU seconds of the process.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from kafka import KafkaProducer
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans

from benchmarks.stream import embeddings, read_all

Matrix = NDArray[np.float32]
RATE = 0.02


def only_read(servers: str, topic: str, **_: int) -> int:
    """kafka-python reading the messages, and nothing else."""
    return sum(len(part) for part in _parts(servers, topic))


def obvious(servers: str, topic: str, *, n_clusters: int, window: int) -> int:
    """What one writes first: partial_fit, distances as probabilities, a numpy draw, no transactions."""
    producer = KafkaProducer(bootstrap_servers=servers)
    model = MiniBatchKMeans(n_clusters, random_state=0)
    rng = np.random.default_rng(0)
    done = 0
    for X in _windows(_parts(servers, topic), window):
        model.partial_fit(X)
        squared = ((X - model.cluster_centers_[model.labels_]) ** 2).sum(axis=1)
        p = 0.5 * squared / squared.sum() + 0.5 / len(X)
        size = int(RATE * len(X))
        chosen = rng.choice(len(X), size, p=p)
        producer.send(f"{topic}-obvious", _sample(X[chosen], 1 / (size * p[chosen])))
        done += len(X)
    producer.flush()
    producer.close()
    return done


def _parts(servers: str, topic: str) -> Iterator[Matrix]:
    consumer, end = read_all(servers, topic)
    position = 0
    while position < end:
        for records in consumer.poll(timeout_ms=1000).values():
            for record in records:
                yield embeddings(record.value)
            position = records[-1].offset + 1
    consumer.close()


def _windows(parts: Iterator[Matrix], size: int) -> Iterator[Matrix]:
    held: list[Matrix] = []
    for part in parts:
        held.append(part)
        if sum(map(len, held)) >= size:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)


def _sample(X: Matrix, weights: NDArray[np.float64]) -> bytes:
    column = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), X.shape[1])
    table = pa.table({"embedding": column, "weight": weights})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=["only_read", "obvious"])
    parser.add_argument("--servers", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--clusters", type=int, default=1024)
    parser.add_argument("--window", type=int, default=8192)
    given = parser.parse_args()
    program = {"only_read": only_read, "obvious": obvious}[given.peer]
    began = time.perf_counter()
    examples = program(given.servers, given.topic, n_clusters=given.clusters, window=given.window)
    seconds = time.perf_counter() - began
    print(json.dumps({"examples": examples, "seconds": seconds, "cpu_seconds": time.process_time()}))


if __name__ == "__main__":
    main()
