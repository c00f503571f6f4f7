"""What `stream-coreset check` says of the topic on which losses come back."""

from __future__ import annotations

from contextlib import closing

from consumers.clients import plain_consumer
from consumers.errors import ServiceError, TopicError
from consumers.reader import offset_range, read_to_end
from consumers.records.feedback import FeedbackError, FeedbackRecord
from consumers.settings import Settings

__all__ = ["check_feedback"]

_LAST = 10  # of each partition are looked at


def check_feedback(settings: Settings) -> str:
    """Look at the last reports; says what was found.

    Raises
    ------
    ServiceError
        When the topic is not there, or more than half of the last reports cannot be used.
    """
    topic = settings.feedback.topic
    if topic is None:
        return "no feedback.topic is set: no losses come back"
    reports, mistakes = _last_reports(settings, topic)
    if not reports:
        return f"{topic} is empty: nothing to look at yet"
    if not mistakes:
        return f"the last {reports} reports of {topic} can be used"
    said = f"{len(mistakes)} of the last {reports} reports of {topic} cannot be used: {mistakes[0]}"
    if 2 * len(mistakes) < reports:
        return said
    raise ServiceError(f"{said}; they are JSON with window, source, loss (or null) and model_version")


def _last_reports(settings: Settings, topic: str) -> tuple[int, list[str]]:
    with closing(plain_consumer(settings)) as consumer:
        try:
            first, ends = offset_range(consumer, topic)
        except TopicError:
            raise ServiceError(
                f"There is no topic {topic}, or we may not see it; create it for the losses that come back, "
                "or unset feedback.topic"
            ) from None
    start = {(topic, one.partition): max(first[one], end - _LAST) for one, end in ends.items()}
    reports, mistakes = 0, list[str]()
    for record in read_to_end(settings, topic, start=start):
        reports += 1
        try:
            FeedbackRecord.decode(record.value)
        except FeedbackError as error:
            mistakes.append(str(error))
    return reports, mistakes
