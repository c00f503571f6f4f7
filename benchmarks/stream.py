"""The stream of the end-to-end benchmark: clustered vectors, many to a message, on Apache Kafka."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from numpy.typing import NDArray

__all__ = ["FETCH", "embeddings", "message", "messages", "produce", "read_all", "vectors"]

ROWS_A_MESSAGE = 256
FETCH = {  # what a reader of large messages wants of kafka-python
    "fetch_min_bytes": 1_000_000,
    "max_partition_fetch_bytes": 8_000_000,
    "fetch_max_bytes": 64_000_000,
    "max_poll_records": 64,
}


def vectors(n: int, dimension: int, n_clusters: int, seed: int = 0) -> NDArray[np.float32]:
    """(n, dimension) float32 of `n_clusters` Gaussian clusters with shares ~ rank^-1."""
    rng = np.random.default_rng(seed)
    means = rng.normal(0, 3, (n_clusters, dimension)).astype(np.float32)
    shares = 1 / np.arange(1, n_clusters + 1)
    labels = rng.choice(n_clusters, n, p=shares / shares.sum())
    return means[labels] + rng.standard_normal((n, dimension), dtype=np.float32)


def messages(X: NDArray[np.float32]) -> list[bytes]:
    """Arrow IPC streams of `ROWS_A_MESSAGE` rows each."""
    return [message(X[start : start + ROWS_A_MESSAGE]) for start in range(0, len(X), ROWS_A_MESSAGE)]


def embeddings(value: bytes) -> NDArray[np.float32]:
    """(rows, dimension) of one message, as the obvious program reads it."""
    column = pa.ipc.open_stream(value).read_all().column("embedding").combine_chunks()
    flat = column.flatten().to_numpy(zero_copy_only=True)
    return flat.reshape(len(column), -1)


def produce(servers: str, topic: str, values: list[bytes], repeats: int) -> None:
    """Write `values`, `repeats` times over."""
    producer = KafkaProducer(bootstrap_servers=servers, acks=1, linger_ms=5, batch_size=1_000_000)
    sent = [producer.send(topic, value) for _ in range(repeats) for value in values]
    producer.flush()
    for future in sent:
        future.get(timeout=60)
    producer.close()


def read_all(servers: str, topic: str, **options: object) -> tuple[KafkaConsumer, int]:
    """A consumer at the start of partition 0, and the offset at which to stop."""
    consumer = KafkaConsumer(bootstrap_servers=servers, group_id=None, **FETCH, **options)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    return consumer, int(consumer.end_offsets([partition])[partition])


def message(rows: NDArray[np.float32]) -> bytes:
    """An Arrow IPC stream of these embeddings."""
    column = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
    table = pa.table({"embedding": column})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()
