"""Topics on a real Apache Kafka: created as they must be, and what is said where they are not."""

from __future__ import annotations

import pytest
from kafka.admin import ConfigResource, ConfigResourceType

from consumers.errors import BrokerError, TopicError
from consumers.topics import ensure_topics, planned, verify_topics

ROLES = ("coreset", "windows", "dead_letters", "statistics", "clusters")


@pytest.fixture
def configs(admin):
    def look(topic):
        found = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all")
        return {name: entry["value"] for name, entry in found["topic"][topic].items()}

    return look


def test_topics_are_created_as_they_must_be(make_settings, make_topic, admin, configs):
    source = make_topic(3)
    settings = make_settings(source, topics={"retention_hours": 2})
    assert ensure_topics(settings) == [f"{settings.topic(role)}: created" for role in ROLES]
    described = {one["name"]: len(one["partitions"]) for one in admin.describe_topics()}
    assert [described[settings.topic(role)] for role in ROLES] == [3, 1, 1, 1, 1]
    found = {role: configs(settings.topic(role)) for role in ROLES}
    assert [found[role]["cleanup.policy"] for role in ROLES] == ["delete"] * 4 + ["compact"]
    assert found["coreset"]["retention.ms"] == str(2 * 3_600_000)
    assert found["windows"]["retention.ms"] == str(20 * 3_600_000), "the ledger outlives what it accounts for"
    assert int(found["coreset"]["max.message.bytes"]) >= settings.input.max_message_bytes + 65_536
    assert found["clusters"]["segment.bytes"] == "32000000"
    assert found["clusters"]["min.cleanable.dirty.ratio"] == "0.1"


def test_a_second_time_changes_nothing(make_settings, make_topic):
    settings = make_settings(make_topic())
    ensure_topics(settings)
    as_it_should_be = [f"{settings.topic(role)}: is as it should be" for role in ROLES]
    assert ensure_topics(settings) == as_it_should_be
    assert verify_topics(settings) == as_it_should_be


def test_verifying_creates_nothing(make_settings, make_topic, admin):
    settings = make_settings(make_topic())
    with pytest.raises(TopicError, match=f"no topic {settings.topic('coreset')}.*stream-coreset topics"):
        verify_topics(settings)
    assert settings.topic("coreset") not in admin.list_topics()


def test_a_missing_input_is_said(make_settings, name, admin):
    settings = make_settings(f"{name}-typo")
    with pytest.raises(TopicError, match=f"no topic {name}-typo, the input; create it, or set input.topic"):
        ensure_topics(settings)
    assert settings.topic("coreset") not in admin.list_topics()


@pytest.mark.parametrize(
    ("role", "partitions", "config", "says"),
    [
        ("clusters", 2, {"cleanup.policy": "compact"}, "has 2 partitions and must have one"),
        ("clusters", 1, {}, "cleanup.policy is delete and must be compact"),
        ("coreset", 1, {"cleanup.policy": "compact"}, "cleanup.policy is compact and must be delete"),
        ("coreset", 1, {"max.message.bytes": "5000"}, "max.message.bytes is 5000 and must be at least"),
        ("statistics", 3, {}, "has 3 partitions and must have one"),
    ],
)
def test_what_breaks_a_promise_is_said(make_settings, make_topic, role, partitions, config, says):
    settings = make_settings(make_topic())
    make_topic(partitions, name=settings.topic(role), configs=config)
    for look in (ensure_topics, verify_topics):
        with pytest.raises(TopicError, match=f"{settings.topic(role)}: .*{says}"):
            look(settings)


def test_a_coreset_may_have_partitions_of_its_own(make_settings, make_topic):
    settings = make_settings(make_topic(2), topics={"coreset_partitions": 5})
    assert planned(settings, 2)[0].partitions == 5


def test_too_many_copies_for_the_brokers_are_said(make_settings, make_topic, admin):
    many = 1 + len(admin.describe_cluster()["brokers"])
    settings = make_settings(make_topic(), topics={"replication_factor": many})
    with pytest.raises(BrokerError, match=rf"replication factor of {many} cannot be reached"):
        ensure_topics(settings)
