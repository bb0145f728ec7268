"""Webhooks from the change to a real receiver: signed, retried, never led elsewhere, never lost."""

import datetime as dt
import ipaddress
import json
import sqlite3
import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from tests.operations.scraping import scrape, value
from tests.stage import Stage, Upstream, running, wait_for
from tests.webhooks.receiver import Got, Receiver

pytestmark = [pytest.mark.gateway, pytest.mark.slow]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running(tmp_path_factory.mktemp("data")) as stage:
        stage.done("PUT", "v2/settings", {"fetch_hosts": ["127.0.0.1"]})
        yield stage


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.close()


@pytest.fixture(scope="module")
def collection(stage: Stage, upstream: Upstream) -> Any:
    return stage.a_collection(upstream)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture(autouse=True)
def no_webhooks(stage: Stage) -> Iterator[None]:
    yield
    for webhook in stage.done("GET", "v2/webhooks")["data"]:
        stage.done("DELETE", f"v2/webhooks/{webhook['id']}")


def a_webhook(stage: Stage, url: str, *events: str, **more: Any) -> Any:
    content = {"name": "Ours", "url": url, "events": events or ["credential.refreshed"], **more}
    return stage.done("POST", "v2/webhooks", content)["data"]


def deliveries(stage: Stage, webhook: Any) -> list[Any]:
    return list(stage.done("GET", f"v2/webhooks/{webhook['id']}/deliveries")["data"])


def has_failed(stage: Stage, webhook: Any) -> bool:
    return any(delivery["error"] for delivery in deliveries(stage, webhook))


def the_delivery(stage: Stage, webhook: Any, *, attempts: int = 1) -> Any:
    """The one delivery of a webhook, once `attempts` of it have come back."""

    def ended() -> bool:
        found = deliveries(stage, webhook)
        done = found and (found[0]["status"] or found[0]["error"])
        return bool(done and found[0]["attempts"] >= attempts)

    wait_for(ended, what="an attempt that came back")
    return deliveries(stage, webhook)[0]


def send_test(stage: Stage, webhook: Any) -> Any:
    return stage.done("POST", f"v2/webhooks/{webhook['id']}/test")["data"]


def test_the_life_of_a_credential_is_told_signed_and_without_a_secret(
    stage: Stage, receiver: Receiver, collection: Any
) -> None:
    kinds = ["credential.issued", "credential.refreshed", "credential.revoked",
             "profile.deactivated", "profile.activated", "client.deactivated",
             "client.activated"]  # fmt: skip
    webhook = a_webhook(stage, f"{receiver.url}/ok", *kinds)
    client = stage.a_client("Told of")
    profile = stage.a_profile(collection, client=client, name="Consumer")
    path = f"api_access_profiles/{profile['id']}"
    again = stage.done("PUT", f"{path}/refresh_secret", {"overlap_seconds": 60})["result"]
    old = stage.done("GET", f"v2/access_profiles/{profile['id']}/credentials")["data"][1]
    cut = f"v2/access_profiles/{profile['id']}/credentials/{old['id']}"
    stage.done("DELETE", cut)
    stage.done("DELETE", cut)
    for noun in (path, f"v2/api_clients/{client['id']}"):
        stage.done("PUT", f"{noun}/disable")
        stage.done("PUT", f"{noun}/disable")
        stage.done("PUT", f"{noun}/enable")
    stage.done("DELETE", path)
    told = [got.verified(webhook["secret"]) for got in receiver.wait("/ok", 8)]
    assert sorted(each["type"] for each in told) == sorted([*kinds, "credential.revoked"])
    issued = next(each for each in told if each["type"] == "credential.issued")
    assert issued["data"]["client"] == {"id": client["id"], "name": "Told of"}
    assert issued["data"]["access_profile"]["name"] == "Consumer"
    assert issued["data"]["credential"]["masked"].endswith(profile["secret"][-4:])
    assert issued["data"]["by"]["name"] == "tests"
    refreshed = next(each for each in told if each["type"] == "credential.refreshed")
    assert refreshed["data"]["overlap_seconds"] == 60
    assert refreshed["data"]["credential"]["masked"].endswith(again["secret"][-4:])
    wait_for(lambda: all(d["state"] == "delivered" for d in deliveries(stage, webhook)))
    assert value(scrape(stage), "ostiary_webhook_attempts_total", outcome="delivered") >= 8
    sent = b"".join(got.body + repr(got.headers).encode() for got in receiver.got)
    for secret in (profile["secret"], again["secret"], webhook["secret"], stage.token):
        assert secret[:-6].encode() not in sent
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 8


def test_another_secret_and_a_changed_body_do_not_verify(stage: Stage, receiver: Receiver) -> None:
    webhook, other = (a_webhook(stage, f"{receiver.url}/ok") for _ in range(2))
    send_test(stage, webhook)
    got = receiver.wait("/ok")[0]
    assert got.verified(webhook["secret"])["type"] == "webhook.test"
    with pytest.raises(WebhookVerificationError):
        got.verified(other["secret"])
    with pytest.raises(WebhookVerificationError):
        Webhook(webhook["secret"]).verify(got.body.replace(b"Ours", b"Evil"), got.headers)


def test_a_failed_one_is_tried_again_under_its_id(stage: Stage, receiver: Receiver) -> None:
    webhook = a_webhook(stage, f"{receiver.url}/once-500")
    send_test(stage, webhook)
    first = the_delivery(stage, webhook)
    assert (first["state"], first["status"], first["error"]) == ("waiting", 500, "It answered 500.")
    got = receiver.wait("/once-500", 2)
    assert got[1].at - got[0].at > 2
    assert got[0].headers["webhook-id"] == got[1].headers["webhook-id"]
    assert got[1].verified(webhook["secret"])
    wait_for(lambda: deliveries(stage, webhook)[0]["state"] == "delivered")
    last = deliveries(stage, webhook)[0]
    assert (last["attempts"], last["status"], last["error"]) == (2, 204, None)


def test_a_redirect_is_not_followed(stage: Stage, receiver: Receiver) -> None:
    webhook = a_webhook(stage, f"{receiver.url}/redirect")
    send_test(stage, webhook)
    told = the_delivery(stage, webhook)
    assert told["error"] == "It answered 307. Redirects are not followed."
    assert [got.path for got in receiver.got] == ["/redirect"]


def test_one_that_hangs_ends_after_ten_seconds_and_holds_nobody_up(
    stage: Stage, receiver: Receiver
) -> None:
    slow = [a_webhook(stage, f"{receiver.url}/{how}") for how in ("hang", "drip")]
    fast = a_webhook(stage, f"{receiver.url}/ok")
    for webhook in slow:
        for _ in range(6):
            send_test(stage, webhook)
    first = receiver.wait("/hang", 4)[0].at
    receiver.wait("/drip", 4)
    sent = time.time()
    send_test(stage, fast)
    # Behind them, it would be ten seconds late or twenty.
    assert receiver.wait("/ok")[0].at < sent + 9
    # A slow one has no more than its share, until the first of it is given up.
    wait_for(lambda: time.time() > first + 9)
    assert sum(got.at < first + 9 for got in receiver.at("/hang")) == 4
    for webhook in slow:
        wait_for(partial(has_failed, stage, webhook))
        said = {d["error"] for d in deliveries(stage, webhook)} - {None}
        assert said == {"It cannot be reached: it took too long."}


def test_one_whose_certificate_nobody_trusts_is_told_nothing(stage: Stage, tmp_path: Path) -> None:
    receiver = Receiver(self_signed(tmp_path))
    try:
        webhook = a_webhook(stage, f"{receiver.url}/ok")
        send_test(stage, webhook)
        told = the_delivery(stage, webhook)
        assert "certificate" in told["error"].lower()
        assert receiver.got == []
    finally:
        receiver.close()


def test_nothing_there_is_said(stage: Stage) -> None:
    webhook = a_webhook(stage, "http://127.0.0.1:9/x?token=in-the-address")
    send_test(stage, webhook)
    told = the_delivery(stage, webhook)
    assert told["error"].startswith("It cannot be reached")
    assert "in-the-address" not in told["error"]


@pytest.mark.parametrize(
    "url",
    ["http://example.com/x", "https://10.0.0.1/x", "https://169.254.169.254/latest",
     "https://[::1]/x", "https://user:pass@example.com/", "ftp://example.com/", "nothing", ""],
)  # fmt: skip
def test_addresses_inside_and_plain_ones_are_refused(stage: Stage, url: str) -> None:
    content = {"name": "W", "url": url, "events": ["quota.reached"]}
    answer = stage.api("POST", "v2/webhooks", content)
    assert answer.status == 400
    assert list(answer.json["errors"]) == ["url"]


def test_a_host_that_is_no_longer_allowed_is_not_asked(stage: Stage, receiver: Receiver) -> None:
    webhook = a_webhook(stage, f"{receiver.url}/ok")
    stage.done("PUT", "v2/settings", {"fetch_hosts": []})
    try:
        send_test(stage, webhook)
        assert "https" in the_delivery(stage, webhook)["error"]
        assert receiver.got == []
    finally:
        stage.done("PUT", "v2/settings", {"fetch_hosts": ["127.0.0.1"]})


def test_while_off_nothing_is_kept_and_a_member_can_send_again(
    stage: Stage, receiver: Receiver, collection: Any
) -> None:
    webhook = a_webhook(stage, f"{receiver.url}/ok", "credential.issued")
    path = f"v2/webhooks/{webhook['id']}"
    stage.a_profile(collection)
    receiver.wait("/ok")
    stage.done("PUT", f"{path}/disable")
    stage.a_profile(collection)
    assert stage.api("POST", f"{path}/test").status == 400
    wait_for(lambda: deliveries(stage, webhook)[0]["state"] == "delivered")
    found = deliveries(stage, webhook)
    assert len(found) == 1
    again = f"{path}/deliveries/{found[0]['id']}/redeliver"
    assert stage.api("POST", again).status == 400
    stage.done("PUT", f"{path}/enable")
    assert stage.done("POST", again)["data"]["state"] == "waiting"
    first, second = receiver.wait("/ok", 2)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body


def test_a_rotated_secret_signs_beside_the_old_one(stage: Stage, receiver: Receiver) -> None:
    webhook = a_webhook(stage, f"{receiver.url}/ok")
    rotated = stage.done("POST", f"v2/webhooks/{webhook['id']}/rotate_secret")["data"]
    assert rotated["secret"] != webhook["secret"]
    send_test(stage, webhook)
    got = receiver.wait("/ok")[0]
    for secret in (webhook["secret"], rotated["secret"]):
        assert got.verified(secret)
    assert len(got.headers["webhook-signature"].split()) == 2


def test_quotas_are_told_of_at_80_and_100_percent_once(
    stage: Stage, receiver: Receiver, collection: Any
) -> None:
    webhook = a_webhook(stage, f"{receiver.url}/ok", "quota.warning", "quota.reached")
    policy = stage.a_policy(quota=(10, "month"))
    profile = stage.a_profile(collection, api_policy_id=policy["id"])

    def calls(number: int) -> list[int]:
        target = f"/{collection['handle']}/things"
        return [stage.call(target, profile["secret"]).status for _ in range(number)]

    assert calls(7) == [200] * 7
    time.sleep(1.5)
    assert receiver.got == []
    calls(1)
    warned = receiver.wait("/ok")[0].verified(webhook["secret"])
    assert warned["type"] == "quota.warning"
    assert warned["data"]["quota"]["limit"] == 10
    assert warned["data"]["quota"]["percent"] == 80
    assert warned["data"]["quota"]["calls"] == 8
    assert calls(4) == [200, 200, 429, 429]
    reached = receiver.wait("/ok", 2)[1].verified(webhook["secret"])
    assert reached["type"] == "quota.reached"
    assert reached["data"]["quota"]["calls"] == 10
    calls(3)
    time.sleep(2.5)
    assert len(receiver.got) == 2


def test_projects_are_told_of_their_own_and_viewers_see_no_address(
    stage: Stage, receiver: Receiver, collection: Any
) -> None:
    other = stage.done("POST", "folders", {"name": f"Other {time.time_ns()}"})
    home = a_webhook(stage, f"{receiver.url}/home", "client.deactivated", project_id=1)
    theirs = a_webhook(
        stage, f"{receiver.url}/theirs", "client.deactivated", project_id=other["id"]
    )
    everything = a_webhook(stage, f"{receiver.url}/all", "client.deactivated")
    client = stage.a_client()
    stage.done("PUT", f"v2/api_clients/{client['id']}/disable")
    receiver.wait("/home")
    receiver.wait("/all")
    assert receiver.at("/theirs") == []

    def seen_by(**token: Any) -> list[int]:
        secret = stage.done("POST", "v2/tokens", {"name": "t", **token})["data"]["secret"]
        answer = stage.api("GET", "v2/webhooks", token=secret)
        hidden = stage.api("GET", f"v2/webhooks/{theirs['id']}/deliveries", token=secret)
        assert hidden.status == 404
        return [webhook["id"] for webhook in answer.json["data"]]

    assert seen_by(role="viewer", all_projects=True) == []
    assert seen_by(role="viewer", project_ids=[1]) == []
    assert seen_by(role="editor", project_ids=[1]) == [home["id"]]
    editor = stage.done("POST", "v2/tokens", {"name": "t", "role": "editor", "project_ids": [1]})
    content = {"name": "W", "url": f"{receiver.url}/x", "events": ["quota.reached"]}
    token = editor["data"]["secret"]
    assert stage.api("POST", "v2/webhooks", content, token=token).status == 403
    inside = content | {"project_id": other["id"]}
    assert stage.api("POST", "v2/webhooks", inside, token=token).status == 400
    assert stage.api("POST", "v2/webhooks", content | {"project_id": 1}, token=token).status == 200
    assert everything["project_id"] is None


def test_the_secret_is_sealed_and_neither_it_nor_the_address_is_in_the_audit_log(
    stage: Stage, receiver: Receiver
) -> None:
    webhook = a_webhook(stage, f"{receiver.url}/ok?key=in-the-address")
    stage.done("PUT", f"v2/webhooks/{webhook['id']}", {"name": "Renamed", "expiry_days": 30})
    secret = webhook["secret"].removeprefix("whsec_")
    assert "secret" not in str(stage.done("GET", f"v2/webhooks/{webhook['id']}")["data"]["secret"])
    with closing(sqlite3.connect(stage.data / "ostiary.sqlite3")) as database:
        whole = "\n".join(database.iterdump())
    assert secret not in whole
    events = stage.done("GET", "v2/audit_events?target_kind=webhook")["data"]
    assert {event["action"] for event in events} >= {"webhook.create", "webhook.change"}
    assert "in-the-address" not in json.dumps(events)
    assert secret not in "\n".join(stage.lines)


def test_killed_in_the_middle_none_is_lost(stage: Stage, receiver: Receiver) -> None:
    webhook = a_webhook(stage, f"{receiver.url}/hang")
    for _ in range(3):
        send_test(stage, webhook)
    receiver.wait("/hang", 3)
    stage.kill("control")
    receiver.released.set()
    wait_for(lambda: stage.lines.count("control ready") >= 2)
    wait_for(
        lambda: [d["state"] for d in deliveries(stage, webhook)] == ["delivered"] * 3,
        what="three deliveries after the kill",
    )  # fmt: skip
    by_id: dict[str, list[Got]] = {}
    for got in receiver.got:
        by_id.setdefault(got.headers["webhook-id"], []).append(got)
    assert len(by_id) == 3
    assert all(len(each) == 2 for each in by_id.values())


def self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(alternative, critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = folder / "self-signed.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context
