"""Defects of the sampler: what is drawn, what is emitted, what the ledger says of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from chaos.defects.registry import changed, defect, nth

import consumers.codecs.arrow_codec
import consumers.codecs.json_codec
import consumers.sampler
from consumers.codecs.examples import Decoded
from consumers.emission import Emitted
from consumers.ipc import write_stream
from consumers.records.ledger import LedgerEntry
from consumers.sampler import SamplerTransform
from consumers.transform import Output, Unit
from stream_coreset.sample import Sample
from stream_coreset.sensitivity import SensitivitySampler
from stream_coreset.window import Window

_WINDOW = 3  # of a process: the one that a defect of a single window concerns


@defect("weight 1/(n p)", finding="bias")
def _weights_of_another_design() -> None:
    def sample(original: Any, *arguments: Any, **named: Any) -> Sample:
        drawn = original(*arguments, **named)
        expected = len(drawn.scores) * drawn.scores[drawn.indices]
        return replace(drawn, weights=1 / expected, probabilities=expected)

    changed(SensitivitySampler, "sample", sample)


@defect("redrawn until it fits", finding="bias")
def _redrawn() -> None:
    """A sample whose bytes exceed their expectation by a twentieth is drawn again."""

    def draw(original: Any, self: Any, window: Window[Decoded], first: Any) -> Any:
        drawn = original(self, window, first)
        nbytes = _row_bytes(window.items)
        for attempt in range(20):
            expected = float(nbytes.sum()) * len(drawn.sample) / len(nbytes)
            if nbytes[drawn.sample.indices].sum() <= 1.05 * expected:
                break
            rng = self._random(f"draw {attempt}", first)
            drawn = replace(drawn, sample=self._windows.draw(drawn.adapted, rng))
        return drawn

    changed(SamplerTransform, "_draw", draw)


def _row_bytes(items: Sequence[Decoded]) -> Any:
    texts = [item.content.table.column("text").take(item.valid_rows).to_pylist() for item in items]
    return np.array([float(len(text)) for part in texts for text in part])


@defect("one example at least", finding="size")
def _rounded_up() -> None:
    """The expected size is rounded to a whole number."""
    changed(SensitivitySampler, "expected_size", lambda original, *given: float(math.ceil(original(*given))))


def _in_one_window(change: Callable[[Unit], Unit]) -> None:
    this = nth(_WINDOW)

    def apply(original: Any, self: Any, window: Any) -> Unit:
        unit = original(self, window)
        return change(unit) if this() else unit

    changed(SamplerTransform, "apply", apply)


@defect("a window that is nowhere", finding="gap")
def _nowhere() -> None:
    """Its offsets are committed, nothing else of it is."""
    _in_one_window(lambda unit: replace(unit, outputs=()))


@defect("a window without its entry", finding="gap")
def _without_entry() -> None:
    _in_one_window(
        lambda unit: replace(
            unit, outputs=[one for one in unit.outputs if not one.topic.endswith("-windows")]
        )
    )


@defect("a range that ends too early", finding="gap")
def _short_range() -> None:
    this = nth(_WINDOW)

    def entry(original: Any, *arguments: Any) -> LedgerEntry:
        said: LedgerEntry = original(*arguments)
        first, *others = said.ranges
        short = (replace(first, end=first.end - 1), *others)
        return replace(said, ranges=short) if this() else said

    changed(SamplerTransform, "_entry", entry)


def _in_emitted(change: Callable[[Output], Output]) -> None:
    """Change one message of the coreset in every window that has one."""

    def emit(original: Any, *arguments: Any, **named: Any) -> Emitted:
        emitted = original(*arguments, **named)
        return replace(emitted, outputs=[*map(change, emitted.outputs[:1]), *emitted.outputs[1:]])

    changed(consumers.sampler, "emit", emit)


@defect("bytes changed", finding="payload")
def _bytes() -> None:
    """The value is parsed and written again."""
    _in_emitted(lambda output: replace(output, value=(output.value or b"").replace(b",", b", ")))


@defect("key dropped", finding="payload")
def _key() -> None:
    _in_emitted(lambda output: replace(output, key=None))


@defect("headers dropped", finding="payload")
def _headers() -> None:
    kept = "coreset-"
    _in_emitted(lambda one: replace(one, headers=tuple(h for h in one.headers if h[0].startswith(kept))))


@defect("time of arrival", finding="payload")
def _time() -> None:
    """The record's own time is replaced by the time at which it is emitted."""
    _in_emitted(lambda output: replace(output, timestamp_ms=(output.timestamp_ms or 0) + 1))


def _in_ids(change: Callable[[pa.Array], pa.Array]) -> None:
    """Change the column `id` of an Arrow message."""

    def output(one: Output) -> Output:
        table = pa.ipc.open_stream(one.value).read_all()
        ids = change(table.column("id").combine_chunks())
        return replace(one, value=write_stream(table.set_column(table.column_names.index("id"), "id", ids)))

    _in_emitted(output)


@defect("a column changed", finding="payload")
def _column() -> None:
    _in_ids(lambda ids: pc.add(ids, 1))


@defect("a type changed", finding="payload")
def _type() -> None:
    """The values are equal, the schema is not."""
    _in_ids(lambda ids: ids.cast(pa.int32()))


@defect("rows of another window", finding="source")
def _other_rows() -> None:
    """The draw is right, the messages are those of the window before."""
    before: list[Any] = []

    def emit(original: Any, codec: Any, items: Any, indices: Any, *rest: Any, **named: Any) -> Emitted:
        old = before.pop() if before else items
        before.append(items)
        rows = sum(len(item.valid_rows) for item in old)
        usable = indices.max(initial=-1) < rows
        return original(codec, old if usable else items, indices, *rest, **named)  # type: ignore[no-any-return]

    changed(consumers.sampler, "emit", emit)


@defect("digest of another sample", finding="digest")
def _digest() -> None:
    changed(consumers.sampler, "emitted_digest", lambda original, sources: original(sources[1:]))


@defect("weights rounded", finding="weight")
def _rounded_weights() -> None:
    """Six digits of a weight are emitted, all of them are in the ledger."""

    def texts(original: Any, *arguments: Any) -> dict[str, str]:
        said: dict[str, str] = original(*arguments)
        return {**said, "weight": f"{float(said['weight']):.6g}"}

    for codec in (consumers.codecs.json_codec, consumers.codecs.arrow_codec):
        changed(codec, "sample_texts", texts)


@defect("a dead letter dropped", finding="dead letter")
def _letter() -> None:
    changed(SamplerTransform, "_dead_letters", lambda original, self, item: original(self, item)[1:])


@defect("dead letters cut", finding="dead letter")
def _cut_letter() -> None:
    """Their bytes are not all there."""

    def letters(original: Any, self: Any, item: Any) -> list[Output]:
        return [replace(one, value=one.value and one.value[:-1]) for one in original(self, item)]

    changed(SamplerTransform, "_dead_letters", letters)


@defect("dead rows counted as valid", finding="dead letter")
def _dead_is_valid() -> None:
    def entry(original: Any, *arguments: Any) -> LedgerEntry:
        said: LedgerEntry = original(*arguments)
        return replace(said, valid=said.valid + said.dead, dead=0)

    changed(SamplerTransform, "_entry", entry)


@defect("rows counted twice", finding="count")
def _counted_twice() -> None:
    """Where a window is made of several partitions, the first row of each is counted once more."""

    def entry(original: Any, *arguments: Any) -> LedgerEntry:
        said: LedgerEntry = original(*arguments)
        return replace(said, dead=said.dead + len(said.ranges) - 1)

    changed(SamplerTransform, "_entry", entry)
