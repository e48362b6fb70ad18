"""Signatures of webhooks, held against the published library for Standard Webhooks."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from gateway.webhooks import signature

BODY = b'{"type":"job.completed"}'


def test_the_specifications_own_example() -> None:
    """Secret, id, time and body of a known message give the known signature."""
    secret = bytes(range(32))
    at = datetime(2026, 11, 23, 12, 0, 0, 900_000, tzinfo=UTC)
    told = signature.headers([secret], "msg_1", at, BODY)
    assert told["webhook-id"] == "msg_1"
    assert told["webhook-timestamp"] == str(int(at.timestamp()))
    assert told["webhook-signature"] == Webhook(signature.spell(secret)).sign(
        "msg_1", at.replace(microsecond=0), BODY.decode()
    )


@given(body=st.text(), number=st.integers(1, 4))
def test_a_receiver_with_any_living_secret_takes_it(body: str, number: int) -> None:
    """While secrets rotate each of them proves the message, and a stranger's does not."""
    secrets = [signature.new_secret() for _ in range(number)]
    told = dict(signature.headers(secrets, "msg_1", datetime.now(UTC), body.encode()))
    for secret in secrets:
        Webhook(signature.spell(secret)).verify(body, told, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(signature.spell(signature.new_secret())).verify(body, told, json_parse=False)


@pytest.mark.parametrize("changed", ["body", "webhook-id", "webhook-timestamp"])
def test_a_changed_message_is_refused(changed: str) -> None:
    """Neither body nor id nor time can be changed without the secret."""
    secret = signature.new_secret()
    told = dict(signature.headers([secret], "msg_1", datetime.now(UTC), BODY))
    body = BODY
    if changed == "body":
        body = BODY.replace(b"completed", b"failed")
    else:
        told[changed] = "msg_2" if changed == "webhook-id" else str(int(told[changed]) + 1)
    with pytest.raises(WebhookVerificationError):
        Webhook(signature.spell(secret)).verify(body, told)


def test_an_old_message_is_refused() -> None:
    """A message that was caught and is sent again after five minutes is too old, since its time is signed."""
    secret = signature.new_secret()
    told = dict(signature.headers([secret], "msg_1", datetime.now(UTC) - timedelta(minutes=6), BODY))
    with pytest.raises(WebhookVerificationError):
        Webhook(signature.spell(secret)).verify(BODY, told)


def test_secrets_are_spelled_as_the_standard_has_it() -> None:
    """A secret is `whsec_` and base64 of 32 bytes, and no two are alike."""
    spelled = {signature.spell(signature.new_secret()) for _ in range(50)}
    assert len(spelled) == 50
    assert all(text.startswith("whsec_") and len(text) == 6 + 44 for text in spelled)
