"""The sender of webhooks in this process: what it sends, and what it notes of the answers."""

from collections.abc import Iterator

import pytest
from tests.publishing.conftest import directory, keyring, migrated
from tests.stage import wait_for
from tests.webhooks.receiver import Receiver

from ostiary.directory.actor import SYSTEM
from ostiary.directory.models import WebhookDelivery
from ostiary.directory.webhooks import webhooks
from ostiary.directory.workspace import workspace_settings
from ostiary.webhooks import service

__all__ = ["directory", "keyring", "migrated"]

pytestmark = pytest.mark.usefixtures("directory")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def allow(*hosts: str) -> None:
    workspace_settings.change(by=SYSTEM, values={"fetch_hosts": list(hosts)})


def sent(url: str, *allowed: str) -> tuple[WebhookDelivery, str]:
    """A test event that was sent to an address: what became of it, and the webhook's secret.

    `allowed` are the hosts that the workspace allows when it is sent.
    """
    allow("127.0.0.1")
    given = webhooks.WebhookInput.of(name="Ours", url=url, events=["credential.refreshed"])
    webhook, secret = webhooks.create(by=SYSTEM, given=given)
    webhooks.send_test(by=SYSTEM, webhook_id=webhook.pk)
    allow(*allowed)

    def tried() -> bool:
        delivery = WebhookDelivery.objects.get(webhook_id=webhook.pk)
        return delivery.status is not None or bool(delivery.error)

    with service.sending():
        wait_for(tried, what="an attempt that came back")
    return WebhookDelivery.objects.get(webhook_id=webhook.pk), secret.reveal()


def test_an_event_is_signed_and_delivered(receiver: Receiver) -> None:
    delivery, secret = sent(f"{receiver.url}/ok", "127.0.0.1")
    assert (delivery.state, delivery.status, delivery.error) == ("delivered", 204, "")
    (got,) = receiver.at("/ok")
    assert got.verified(secret)["type"] == "webhook.test"


@pytest.mark.parametrize(
    ("path", "error"),
    [
        pytest.param("/500", "It answered 500.", id="failure"),
        pytest.param("/redirect", "It answered 307. Redirects are not followed.", id="redirect"),
    ],
)
def test_what_is_not_taken_waits_with_its_reason(receiver: Receiver, path: str, error: str) -> None:
    delivery, _ = sent(f"{receiver.url}{path}", "127.0.0.1")
    assert (delivery.state, delivery.attempts, delivery.error) == ("waiting", 1, error)
    assert [got.path for got in receiver.got] == [path]


def test_nothing_is_sent_inside_unless_the_workspace_allows_it(receiver: Receiver) -> None:
    delivery, _ = sent(f"{receiver.url}/ok")
    assert delivery.state == "waiting"
    assert "127.0.0.1" in delivery.error
    assert receiver.got == []
