from __future__ import annotations

import logging

import pytest
import trustme
from kafka import errors as kafka_errors
from kafka.net.transport import KafkaTCPTransport

from consumers import clients
from consumers.connecting import mended_by_a_person
from consumers.credentials import credentials, explain_refusal, verify
from consumers.errors import BrokerError, ServiceError
from consumers.sections import Kafka

LOGIN = {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512", "sasl_username": "me"}


def test_a_password_file_is_read_again_for_every_client(tmp_path) -> None:
    file = tmp_path / "password"
    kafka = Kafka(**LOGIN, sasl_password_file=file)
    for word in ("first", "second"):
        file.write_text(f"{word}\n")
        assert credentials(kafka)["sasl_plain_password"] == word


def test_options_that_are_logged_do_not_show_secrets(caplog: pytest.LogCaptureFixture) -> None:
    options = credentials(Kafka(**LOGIN, sasl_password="hush"))
    logging.getLogger("kafka.admin.client").warning(
        "Starting KafkaAdminClient with configuration: %s", options
    )
    assert "me" in caplog.text
    assert "hush" not in caplog.text + repr(options) + str(options) + f"{options}"


@pytest.mark.parametrize("given", [{"sasl_plain_username": "me"}, {"sasl_plain_password": "x"}, {}])
def test_a_login_without_a_name_or_password_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(ServiceError, match=r"PLAIN needs kafka\.sasl_username and kafka\.sasl_password_file"):
        verify({"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", **given})


def test_keys_that_do_not_fit_their_certificate(tmp_path) -> None:
    ca = trustme.CA()
    one, other = (ca.issue_cert(f"{name}@example.org") for name in "ab")
    one.cert_chain_pems[0].write_to_path(tmp_path / "one.pem")
    other.private_key_pem.write_to_path(tmp_path / "other.key")
    options = {
        "security_protocol": "SSL",
        "ssl_certfile": str(tmp_path / "one.pem"),
        "ssl_keyfile": str(tmp_path / "other.key"),
    }
    with pytest.raises(ServiceError, match="does not hold the key of the certificate"):
        verify(options)


def test_what_does_not_speak_of_a_refusal_may_pass_by_itself() -> None:
    assert explain_refusal(["Connection lost: socket disconnected", "Sasl Authentication"]) is None


def test_a_refusal_inside_another_error_is_found() -> None:
    inner = kafka_errors.TopicAuthorizationFailedError({"clicks-windows"})
    found = mended_by_a_person(kafka_errors.KafkaError("at least one previous request has failed", inner))
    assert isinstance(found, BrokerError)
    assert "clicks-windows" in str(found)


def test_what_comes_with_the_end_of_a_connection_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the mending in `clients`, a refused login looks like a broker that is down."""
    assert clients is not None
    answers = [b"refused", b""]

    class Socket:
        def recv(self, size: int) -> bytes:
            return answers.pop(0) if answers else b""

    monkeypatch.setattr(KafkaTCPTransport, "__str__", object.__repr__)  # it is not connected to anything
    transport = KafkaTCPTransport.__new__(KafkaTCPTransport)
    transport._sock = Socket()
    assert transport._sock_recv() == (b"refused", None)
    data, error = transport._sock_recv()
    assert (data, str(error)) == (b"", "KafkaConnectionError: socket disconnected")
