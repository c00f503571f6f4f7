"""Rights that are taken away, and quotas that slow us, while a loop runs on a real Apache Kafka."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ResourcePattern,
    ResourceType,
)
from kafka.protocol.admin import AlterClientQuotasRequest

from consumers.broker import Broker
from consumers.errors import BrokerError


def numbers(count: int, start: int = 0) -> list[bytes]:
    return [b"%06d" % number for number in range(start, start + count)]


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """One of our own: everything is allowed that is not denied."""
    options = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
    }
    try:
        own = Broker(options=options).__enter__()
    except BrokerError as error:
        pytest.fail(str(error), pytrace=False)
    yield own
    own.stop()


@pytest.fixture(scope="module")
def kafka(broker: Broker) -> str:
    return broker.bootstrap_servers


@pytest.fixture(scope="module")
def admin(kafka: str) -> Iterator[KafkaAdminClient]:
    client = KafkaAdminClient(bootstrap_servers=kafka)
    yield client
    client.close()


@pytest.mark.parametrize(
    ("kind", "operation", "sentence"),
    [
        ("source", "READ", "We lack a right on a topic: grant READ on the topics we read"),
        ("target", "WRITE", "We lack a right on a topic: .* WRITE on those we write"),
        ("group", "READ", "We lack a right on the consumer group: grant READ on it"),
        ("transactional_id", "WRITE", "We lack a right on the transactional id: grant WRITE on it"),
    ],
)
def test_a_right_that_is_taken_away_stops_it(
    kind, operation, sentence, make_settings, make_topic, fill, read, copy_to, running, wait, admin
):
    source, target = make_topic(), make_topic()
    settings = make_settings(source)
    names = {"source": source, "target": target, "group": settings.name}
    types = {"group": ResourceType.GROUP, "transactional_id": ResourceType.TRANSACTIONAL_ID}
    resource = ResourcePattern(types.get(kind, ResourceType.TOPIC), names.get(kind, f"{settings.name}-0"))
    denied = ACL("User:ANONYMOUS", "*", ACLOperation[operation], ACLPermissionType.DENY, resource)
    fill(source, numbers(5))
    transform = copy_to(target, size=1)
    with running(settings, transform) as it:
        wait(lambda: sum(transform.committed) == 5)
        admin.create_acls([denied])
        if kind != "source":  # which nobody may write to now
            fill(source, numbers(5, 5))
        error = it.error(15)
    assert isinstance(error, BrokerError)
    with pytest.raises(BrokerError, match=sentence):
        raise error
    admin.delete_acls([denied])
    if kind == "source":
        fill(source, numbers(5, 5))
    again = copy_to(target, size=1)
    with running(settings, again):
        wait(lambda: sum(again.committed) == 5)
    assert sorted(read(target)) == numbers(10)


def quota(admin: KafkaAdminClient, client_id: str, **rates: float | None) -> None:
    """Set bytes per second of a client, None for no limit."""
    entry = AlterClientQuotasRequest.EntryData
    ops = [entry.OpData(key=key, value=rate or 0.0, remove=rate is None) for key, rate in rates.items()]
    entity = [entry.EntityData(entity_type="client-id", entity_name=client_id)]
    request = AlterClientQuotasRequest(entries=[entry(entity=entity, ops=ops)], validate_only=False)
    (answer,) = admin._manager.run(admin._manager.send, request).entries
    assert not answer.error_code, answer.error_message


@pytest.mark.parametrize("rate", ["producer_byte_rate", "consumer_byte_rate"])
def test_a_quota_slows_it_and_loses_nothing(
    rate, make_settings, make_topic, fill, read, copy_to, running, wait, admin, caplog
):
    source, target = make_topic(), make_topic()
    values = [bytes([number]) * 20_000 for number in range(60)]
    fill(source, values)
    settings = make_settings(source)
    quota(admin, f"{settings.name}-0", **{rate: 100_000.0})
    transform = copy_to(target, size=1)
    with running(settings, transform) as it:
        wait(lambda: "throttled by broker" in caplog.text, 30)  # the client says so in our log
        assert it.loop._pipeline.load()[1] < settings.window.max_bytes
        quota(admin, f"{settings.name}-0", **{rate: None})
        wait(lambda: sum(transform.committed) == 60, 30)
        assert len(transform.resets) == 1, "it fell out of the group"
    assert sorted(read(target)) == values
