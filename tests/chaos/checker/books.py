"""Where every message goes: to its partition of the input, its window, the clusters; one thread only."""

from __future__ import annotations

from collections import defaultdict, deque

from chaos.checker.bias import Statistic, Sums, statistics
from chaos.checker.clusters import Publications
from chaos.checker.entries import Entry, MalformedError, read_entry
from chaos.checker.findings import Findings
from chaos.checker.formats import Drawn, format_of
from chaos.checker.lanes import Lane
from chaos.checker.letters import place_of
from chaos.checker.messages import Batch, Message, Partition
from chaos.checker.stream import Stream
from chaos.checker.windows import Window

__all__ = ["Books"]


class Books:
    """Takes batches, judges each window as soon as everything of it has been read, and forgets it then."""

    def __init__(self, stream: Stream, found: Findings) -> None:
        self._stream = stream
        self._found = found
        self._format = format_of(stream)
        self._lanes: defaultdict[Partition, Lane] = defaultdict(Lane)
        self._entries: deque[Entry] = deque()
        self._open: dict[str, Window] = {}
        self._closed: set[str] = set()
        self._drawn: defaultdict[str, list[Drawn]] = defaultdict(list)
        self._letters: defaultdict[tuple[str, int, int], list[Message]] = defaultdict(list)
        self._sums: list[Sums] = []
        self._unmatched: tuple[set[tuple[Partition, int]], set[tuple[Partition, int]]] = (set(), set())
        self.publications = Publications(found)
        self.counts = dict.fromkeys(("examples", "windows", "emitted", "dead"), 0)

    @property
    def aborted(self) -> int:
        """Records that only the reader of uncommitted messages has seen."""
        return len(self._unmatched[0])

    @property
    def open_windows(self) -> int:
        """Windows of which something has not been read yet."""
        return len(self._entries) + len(self._open)

    def ends(self) -> dict[Partition, int]:
        """Where the ledger ends in each partition of the input, 0 where it has none."""
        return {partition: lane.done for partition, lane in self._lanes.items()}

    def left(self) -> list[Message]:
        """Visible messages of the input that no window covers yet."""
        return [message for lane in self._lanes.values() for message in lane.left()]

    def take(self, batch: Batch) -> None:
        """Take a batch of any topic."""
        topics = self._stream.topics
        if batch.partition[0] != topics.input:
            self._match(batch)
        if not batch.committed:
            return
        if batch.partition[0] == topics.input:
            self._lanes[batch.partition].put(batch.messages, batch.read_to)
        for message in batch.messages:
            self._route(message)
        self._advance()

    def close(self) -> list[Statistic]:
        """Judge what is still open, and what is left over; the statistics of invariant 4."""
        while self._entries:
            self._open_window(self._entries.popleft())
        for name in list(self._open):
            self._judge(name)
        for name, drawn in self._drawn.items():
            self._found.add("examples", f"{drawn[0].source} names {name}, which the ledger does not have")
        for place, letters in self._letters.items():
            self._found.add(
                "dead letter", f"{letters[0].key!r} belongs to no window, or comes twice: {place}"
            )
        tests = statistics(self._sums)
        for test in tests:
            if test.alarming:
                where = f"over {test.groups} groups of windows, where chance allows {test.limit:.2f}"
                self._found.add("bias", f"{test.quantity}: z = {test.z:+.2f} {where}")
        return tests

    def _match(self, batch: Batch) -> None:
        """Strike out what both readers have seen; what only one of them sees remains."""
        mine, theirs = self._unmatched[:: -1 if batch.committed else 1]
        places = {(batch.partition, message.offset) for message in batch.messages}
        mine |= places - theirs
        theirs -= places

    def _route(self, message: Message) -> None:
        topics = self._stream.topics
        try:
            if message.topic == topics.windows:
                self._entries.append(read_entry(message))
            elif message.topic == topics.coreset:
                self._take_drawn(self._format.drawn(message))
            elif message.topic == topics.clusters:
                self.publications.take(message)
            elif message.topic == topics.dead_letters:
                self._take_letter(message)
        except MalformedError as error:
            self._found.add("malformed", f"{message.place}: {error}")

    def _take_drawn(self, drawn: list[Drawn]) -> None:
        for example in drawn:
            if example.window in self._closed:
                window = f"{example.window}, which has all of its own"
                self._found.add("examples", f"{example.source} comes late for {window}")
            else:
                self._drawn[example.window].append(example)

    def _take_letter(self, message: Message) -> None:
        place = place_of(message)
        if place is None:
            raise MalformedError("a dead letter that does not say where it comes from")
        self._letters[place].append(message)

    def _advance(self) -> None:
        """Open the windows whose ranges have been read, in the order of the ledger; judge the complete."""
        while self._entries and all(
            self._lanes[span.partition].read_to >= span.end for span in self._entries[0].spans
        ):
            self._open_window(self._entries.popleft())
        for name in [name for name, window in self._open.items() if self._complete(window)]:
            self._judge(name)

    def _open_window(self, entry: Entry) -> None:
        overlapping = [span for span in entry.spans if self._lanes[span.partition].overlaps(span)]
        if overlapping:
            first = overlapping[0]
            done = self._lanes[first.partition].done
            self._found.add("overlap", f"{entry.window} begins at {first.start}, the ledger was at {done}")
            self._drawn.pop(entry.window, None)
            self._closed.add(entry.window)
            return
        messages: list[Message] = []
        for span in entry.spans:
            taken = self._lanes[span.partition].take(span)
            messages += taken.messages
            if taken.skipped:
                lost = f"{len(taken.skipped)} messages from {taken.skipped[0].place} on"
                self._found.add("gap", f"{lost} lie before {entry.window} and in no window")
        self._open[entry.window] = Window(entry, messages, self._format)

    def _complete(self, window: Window) -> bool:
        entry = window.entry
        letters = sum(len(self._letters.get(place, ())) for place in window.places)
        return (
            len(self._drawn.get(entry.window, ())) >= entry.emitted
            and letters >= entry.dead
            and self.publications.ids(entry.clusters_version) is not None
        )

    def _judge(self, name: str) -> None:
        window = self._open.pop(name)
        self._closed.add(name)
        letters = {place: self._letters.pop(place, []) for place in window.places}
        drawn = self._drawn.pop(name, [])
        sums, rows = window.judge(drawn, letters, self.publications, self._found)
        self._sums.append(sums)
        entry = window.entry
        self.counts["windows"] += 1
        self.counts["examples"] += rows
        self.counts["emitted"] += entry.emitted
        self.counts["dead"] += entry.dead
