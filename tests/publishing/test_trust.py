"""CA certificates: in force before a connection uses them, and a refused one costs its connection."""

import threading
from collections.abc import Mapping

from tests.publishing.conftest import Start
from tests.publishing.makers import a_connection
from tests.publishing.stand_in import StandIn
from tests.stage import wait_for

from ostiary.directory.changes import feed
from ostiary.directory.models import Connection
from ostiary.gateway.connection_objects import certificate_digest


def https(pem: str, number: int = 1) -> int:
    made = a_connection(f"https://api-{number}.example")
    Connection.objects.filter(pk=made.pk).update(ca_pem=pem)
    return made.pk


def test_certificates_are_in_force_before_a_connection_uses_them(
    gateway: StandIn, start: Start
) -> None:
    applied: list[dict[str, str]] = []

    def apply(certificates: Mapping[str, str]) -> Mapping[str, str]:
        assert not any('"ca":"' + digest in text for text in gateway.objects.values()
                       for digest in certificates.keys() - set(applied[-1] if applied else ()))  # fmt: skip
        applied.append(dict(certificates))
        return {certificate_digest("BAD"): "nginx cannot load it."}

    good, bad, same = https("GOOD"), https("BAD"), https("GOOD")
    running = start(apply=apply)
    running.wait_compared()
    assert applied == [{certificate_digest("GOOD"): "GOOD", certificate_digest("BAD"): "BAD"}]
    digest = certificate_digest("GOOD")
    for each in (good, same):
        assert gateway.object(f"u{each}")["tls"] == {
            "name": "api-1.example",
            "verify": True,
            "ca": digest,
        }
    assert f"u{bad}" not in gateway.objects
    (problem,) = running.client.state().set_aside
    assert (problem.id, problem.reason) == (bad, "nginx cannot load it.")
    # A new one is put in force beside the others.
    later = https("NEW")
    assert running.client.confirm(feed.latest(), 20)
    wait_for(lambda: f"u{later}" in gateway.objects)


def test_a_gateway_that_cannot_take_certificates_now_holds_up_only_who_needs_them(
    gateway: StandIn, start: Start
) -> None:
    broken = threading.Event()
    broken.set()

    def apply(_: Mapping[str, str]) -> Mapping[str, str]:
        if broken.is_set():
            raise OSError("nginx does not start")
        return {}

    waiting = https("CA")
    running = start(apply=apply)
    running.wait_compared()
    other = a_connection("http://10.0.0.7").pk
    assert running.client.confirm(feed.latest(), 20)
    assert f"u{other}" in gateway.objects
    assert f"u{waiting}" not in gateway.objects
    broken.clear()
    wait_for(lambda: f"u{waiting}" in gateway.objects)
