"""Values that no check at saving would let through cost their own object, in the real pipeline."""

from typing import Any

import pytest
from django.db.models import Model
from tests.publishing.conftest import Start
from tests.publishing.makers import a_collection, a_connection, an_endpoint
from tests.publishing.stand_in import StandIn

from ostiary.directory.changes import feed
from ostiary.directory.models import Collection, Connection, Endpoint, Setting

BROKEN_PEM = "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n"
TEXTS: tuple[str, ...] = (
    "", "a b", "http://a b", "http://\u00a0x", "é", "a\r\nX-Y: z", "a\tb", "\x7f", "\u202ex",
    "x" * 20_000, "/a/../b", "{", "%2f", "'\"\\", "0",
)  # fmt: skip
ANY: tuple[Any, ...] = (
    None, 5, -1, True, {}, {"a": []}, [None], [5], [[]], "text", [], *([t] for t in TEXTS), *TEXTS,
)  # fmt: skip


def _stored(model: type[Model], object_id: int, field: str, value: Any) -> None:
    model._default_manager.filter(pk=object_id).update(**{field: value})


@pytest.mark.slow
def test_hostile_values_in_every_field_cost_their_own_objects(
    gateway: StandIn, start: Start
) -> None:
    good = an_endpoint(a_collection(a_connection("http://10.1.1.1")), "/good")
    ids: dict[str, set[int]] = {"collection": set(), "connection": set(), "endpoint": set()}

    def bad_connection(field: str, value: Any) -> None:
        more = {"auth_type": "header", "auth_name": "X-Key", "auth_secret": "s"}
        made = a_connection("http://10.0.0.1", **more)
        _stored(Connection, made.pk, field, value)
        ids["connection"].add(made.pk)

    for value in ANY:
        bad_connection("base_urls", value if value is not None else {})
        made = a_collection()
        _stored(Collection, made.pk, "cors_origins", value if value is not None else {})
        ids["collection"].add(made.pk)
    for text in TEXTS:
        for field, longest in (
            ("auth_type", 32), ("auth_name", 255), ("auth_secret", 90_000), ("ca_pem", 90_000),
            ("health_path", 512), ("token_url", 2048), ("scope", 1024),
        ):  # fmt: skip
            bad_connection(field, text[:longest])
        made = a_collection()
        _stored(Collection, made.pk, "handle", text[:100])
        ids["collection"].add(made.pk)
        made = a_collection()
        Collection.objects.filter(pk=made.pk).update(kind=text[:8], connection=None)
        ids["collection"].add(made.pk)
        for field, longest in (("method", 8), ("path", 512), ("target_path", 512)):
            one = an_endpoint(a_collection(), "/bad")
            _stored(Endpoint, one.pk, field, text[:longest])
            ids["endpoint"].add(one.pk)
    for seconds in (0, 86_401, 2**31 - 1):
        bad_connection("timeout_seconds", seconds)
    bad_connection("ca_pem", BROKEN_PEM)
    Setting.objects.create(name="trusted_proxies", value=["10.0.0.0/8", "no network"])

    refused = {"-----BEGIN RSA": "nginx cannot load it."}

    def apply(certificates: Any) -> dict[str, str]:
        return {
            digest: sentence
            for digest, pem in certificates.items()
            for start_, sentence in refused.items()
            if pem.startswith(start_)
        }

    running = start(apply=apply)
    running.wait_compared()
    assert running.client.confirm(feed.latest(), 30)
    assert gateway.object(f"e{good.pk}")["path"] == "/good"
    assert f"k{good.collection_id}" in gateway.objects
    aside = {(p.kind, p.id) for p in running.client.state().set_aside}
    assert ("settings", 0) in aside
    for kind, letter in (("collection", "k"), ("connection", "u"), ("endpoint", "e")):
        for object_id in ids[kind]:
            at_gateway = f"{letter}{object_id}" in gateway.objects
            assert at_gateway != ((kind, object_id) in aside), (kind, object_id)
    assert len(aside) > 150
    assert running.publisher.mirror.complete
