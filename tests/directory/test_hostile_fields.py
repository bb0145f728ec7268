"""What an owner types into a field that reaches the gateway: refused, or stored as plain text.

Each field is filled through its use case with hostile texts, and what is stored is looked at by the
strict checker that stands beside the field.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.examples import examples

from ostiary.access.paths import LONGEST as LONGEST_PATH
from ostiary.directory.actor import SYSTEM
from ostiary.directory.catalog import certificates, collections, connections, endpoints, recipes
from ostiary.directory.changes import gateway_check
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.clients import access_profiles
from ostiary.directory.models import (
    AccessProfile,
    Client,
    Collection,
    Connection,
    Credential,
    Endpoint,
    Recipe,
)
from ostiary.directory.workspace import origins, workspace_settings
from ostiary.identity.sealing import KeyRing
from ostiary.recipes import worker
from ostiary.settings import current

#: What other readers stumbled over: ends of words, lines and texts, 8-bit and invisible characters.
PIECES = (
    "\x00", "\n", "\r\n", "\t", "\x0b", "\x1b", "\x7f", "\x85", "\xa0", "\xe4", "\u200b", "\u2028",
    "\u202e", "\ufeff", "\ud800", "\U0001f993", " ", "  ", ";", '"', "'", "\\", "$", "${x}", "{", "}",
    "#", "%", "%00", "%0a", "|", "<", ">", "(", ")", "*", "..", "//", "@", ":", "[", "]", ",", "-----",
)  # fmt: skip
LONG = "a" * 70_000


def hostile(*good: str) -> st.SearchStrategy[str]:
    """Good texts with hostile pieces in them, and texts of all kinds."""

    def with_piece(text: str, place: int, piece: str) -> str:
        at = place % (len(text) + 1)
        return text[:at] + piece + text[at:]

    pieces = st.one_of(st.sampled_from(PIECES), st.text(max_size=6), st.just(LONG))
    spoilt = st.builds(with_piece, st.sampled_from(good), st.integers(0, 10_000), pieces)
    return st.one_of(spoilt, st.sampled_from(good), st.text(max_size=30))


class Field(NamedTuple):
    texts: st.SearchStrategy[str]
    #: Saves a text, and gives back what is stored of it.
    save: Callable[[str], Iterable[str]]
    checker: Callable[[str], bool]


def plain(maximum: int, *, blanks: bool = False) -> Callable[[str], bool]:
    least = " " if blanks else "!"
    return lambda text: (
        len(text) <= maximum and text == text.strip() and all(least <= c <= "~" for c in text)
    )


def _connection(**given: Any) -> Connection:
    Connection.objects.filter(name="Hostile").delete()
    made = connections.create(
        by=SYSTEM,
        given=connections.ConnectionInput.of(
            **{"name": "Hostile", "base_urls": ["http://10.0.0.1"]} | given
        ),
    )
    return Connection.objects.get(pk=made.value.pk)


def _secret(kind: str, text: str) -> list[str]:
    stored = _connection(auth_type=kind, auth_name="X-Key", auth_secret=text)
    ring = KeyRing.load(current().data / "keyring.json")
    return [ring.open(stored.auth_secret, connections.secret_context(stored.pk))]


def _collection(**given: Any) -> Collection:
    Collection.objects.filter(name="Hostile").delete()
    made = collections.create(
        by=SYSTEM, given=collections.CollectionInput.of(**{"name": "Hostile"} | given)
    )
    return Collection.objects.get(pk=made.value.collection.pk)


def _endpoint(path: str, target: str | None = None) -> Endpoint:
    Endpoint.objects.all().delete()
    made = endpoints.create(
        by=SYSTEM,
        collection_id=Collection.objects.get(name="Things").pk,
        given=endpoints.EndpointInput.of(name="E", method="GET", path=path, target_path=target),
    )
    return Endpoint.objects.get(pk=made.value.pk)


def _addresses(text: str) -> list[str]:
    AccessProfile.objects.all().delete()
    saved, _ = access_profiles.create(
        by=SYSTEM,
        given=access_profiles.NewProfileInput.of(
            client_id=Client.objects.get().pk,
            auth_type="token",
            name="P",
            collection_ids=[Collection.objects.get(name="Things").pk],
            allow_list=text,
            deny_list=[text],
        ),
    )
    stored = AccessProfile.objects.get(pk=saved.value.pk)
    assert all(c.fingerprint for c in Credential.objects.filter(profile=stored))
    return [*stored.allow_list, *stored.deny_list]


def _setting(name: str, value: object) -> object:
    workspace_settings.change(by=SYSTEM, values={name: value})
    return getattr(workspace_settings.read(), name)


def _recipe(text: str) -> list[str]:
    Recipe.objects.all().delete()
    recipes.learn([recipes.ReportedRecipe(name=text), recipes.ReportedRecipe(name="good")])
    names = list(Recipe.objects.values_list("name", flat=True))
    assert "good" in names
    return names


URL = "https://api.example.com:8443/base"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

FIELDS: Mapping[str, Field] = {
    "base_url": Field(
        hostile(URL, "http://10.0.0.2", "http://[2001:db8::1]:80/x"),
        lambda text: _connection(base_urls=[text]).base_urls,
        plain(2048 + 260),
    ),
    "auth_name of a header": Field(
        hostile("X-Key"),
        lambda text: [_connection(auth_type="header", auth_name=text, auth_secret="x").auth_name],
        plain(64),
    ),
    "auth_name of a query": Field(
        hostile("key"),
        lambda text: [_connection(auth_type="query", auth_name=text, auth_secret="x").auth_name],
        plain(64),
    ),
    "auth_name of basic": Field(
        hostile("someone"),
        lambda text: [_connection(auth_type="basic", auth_name=text, auth_secret="x").auth_name],
        plain(255, blanks=True),
    ),
    "auth_secret of a header": Field(
        hostile("secret"), lambda text: _secret("header", text), plain(4096, blanks=True)
    ),
    "auth_secret of a query": Field(
        hostile("secret"), lambda text: _secret("query", text), plain(4096)
    ),
    "token_url": Field(
        hostile("https://login.example.com/token"),
        lambda text: [
            _connection(
                auth_type="oauth2_client_credentials", auth_name="id", auth_secret="x",
                token_url=text,
            ).token_url
        ],
        plain(2048),
    ),
    "scope": Field(
        hostile("read write"),
        lambda text: [
            _connection(
                auth_type="oauth2_client_credentials", auth_name="id", auth_secret="x",
                token_url="https://login.example.com/token", scope=text,
            ).scope
        ],
        plain(1024, blanks=True),
    ),
    "health_path": Field(
        hostile("/health"), lambda text: [_connection(health_path=text).health_path], plain(512)
    ),
    "ca_pem": Field(
        hostile(CERTIFICATE, ""),
        lambda text: [_connection(ca_pem=text).ca_pem],
        lambda text: bool(certificates.STORED.fullmatch(text)),
    ),
    "handle": Field(
        hostile("things-v2"), lambda text: [_collection(handle=text).handle], plain(100)
    ),
    "cors_origins": Field(
        hostile("https://app.example.com", "http://[::1]:3000"),
        lambda text: _collection(cors_origins=[text]).cors_origins,
        lambda text: bool(origins.ALLOWED.fullmatch(text)) and len(text) <= origins.LONGEST,
    ),
    "path": Field(
        hostile("/orders/{id}", "/a"),
        lambda text: [_endpoint(text).path, _endpoint(text).shape],
        plain(LONGEST_PATH),
    ),
    "target_path": Field(
        hostile("/v2/{id}", "/a"),
        lambda text: [_endpoint("/orders/{id}", text).target_path],
        plain(LONGEST_PATH),
    ),
    "ip lists": Field(hostile("192.0.2.0/24", "2001:db8::/32"), _addresses, plain(50)),
    "trusted_proxies": Field(
        hostile("192.0.2.0/24", "2001:db8::/32", "fe80::1%eth0"),
        lambda text: list(_setting("trusted_proxies", [text])),  # type: ignore[call-overload]
        plain(50),
    ),
    "gateway_url": Field(
        hostile("https://api.example.com"),
        lambda text: [str(_setting("gateway_url", text))],
        lambda text: not text or bool(origins.STORED.fullmatch(text)),
    ),
    "console_url": Field(
        hostile("https://console.example.com"),
        lambda text: [str(_setting("console_url", text))],
        lambda text: not text or bool(origins.STORED.fullmatch(text)),
    ),
    "recipe name": Field(hostile("order_total"), _recipe, plain(100)),
}  # fmt: skip


@pytest.mark.parametrize("name", FIELDS)
def test_a_hostile_text_is_refused_or_stored_plain(
    collection: Collection, client_of_ours: Client, name: str
) -> None:
    field = FIELDS[name]

    @settings(
        max_examples=examples(60),
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(field.texts)
    def each(text: str) -> None:
        try:
            stored = list(field.save(text))
        except Invalid as refused:
            for sentences in refused.errors.values():
                assert sentences
                assert all(len(sentence) < 500 for sentence in sentences)
            return
        assert all(field.checker(value) for value in stored), stored

    each()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("cors_origins", "http://a b", id="blank-in-an-origin"),
        pytest.param("cors_origins", "http://a\u00a0b", id="no-break-space-in-an-origin"),
        pytest.param("cors_origins", "http://" + "a" * 20_000, id="long-origin"),
        pytest.param("ca_pem", CERTIFICATE, id="no-certificate"),
        pytest.param("auth_name of basic", "some\u200bone", id="invisible-in-a-user-name"),
        pytest.param("auth_name of basic", "jürgen", id="8-bit-in-a-user-name"),
        pytest.param("token_url", "https://login.example.com/ä", id="8-bit-in-a-url"),
        pytest.param("path", "/orders\u200b", id="invisible-in-a-path"),
        pytest.param("target_path", "/orders\u00a0x", id="no-break-space-in-a-path"),
        pytest.param("trusted_proxies", "fe80::1%x\nname on;", id="zone-with-a-line-end"),
        pytest.param("gateway_url", "https://a\x00.example", id="nul-in-a-url"),
        pytest.param("gateway_url", "https://a\u200b.example", id="invisible-in-a-url"),
    ],
)
def test_what_once_stopped_or_could_stop_a_gateway_is_refused(
    collection: Collection, client_of_ours: Client, name: str, text: str
) -> None:
    with pytest.raises(Invalid):
        list(FIELDS[name].save(text))


def test_the_runner_and_the_directory_take_the_same_names() -> None:
    assert worker.NAME.pattern == recipes.NAME.pattern
    source = "from ostiary.recipes import recipe\n@recipe(name={!r})\ndef f() -> int: return 1\n"
    assert [r.marked.name for r in worker.load("f.py", source.format("order_total"))]
    for name in ("order total", "a\nb", "\u00e4", "", "a" * 101):
        with pytest.raises(worker.BadRecipe, match="valid recipe name"):
            worker.load("f.py", source.format(name))


class Refusing:
    """A gateway that takes no certificates; remembers what it was asked about."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def check_certificates(self, pem: str) -> str | None:
        self.asked.append(pem)
        return "is not taken by the gateway"


def test_the_gateway_is_asked_about_certificates_before_they_are_saved(
    collection: Collection,
) -> None:
    from tests.directory_pure.test_certificates import certificate

    accepting = gateway_check._installed
    kept = _connection(ca_pem=certificate() + "more")
    assert kept.ca_pem == certificate()
    refusing = Refusing()
    gateway_check.install(refusing)
    try:
        with pytest.raises(Invalid) as refused:
            _connection(ca_pem=certificate("Two"))
        assert refused.value.errors == {"ca_pem": ["is not taken by the gateway"]}
        assert refusing.asked == [certificate("Two")]
    finally:
        gateway_check.install(accepting)


def test_certificates_that_stay_are_not_asked_about_again(collection: Collection) -> None:
    from tests.directory_pure.test_certificates import certificate

    accepting = gateway_check._installed
    stored = _connection(ca_pem=certificate())
    refusing = Refusing()
    gateway_check.install(refusing)

    def change(pem: str) -> None:
        connections.change(
            by=SYSTEM, connection_id=stored.pk,
            given=connections.ConnectionInput(name="Hostile", base_urls=["http://10.0.0.1"], ca_pem=pem),
        )  # fmt: skip

    try:
        change(certificate())
        assert refusing.asked == []
        with pytest.raises(Invalid):
            change(certificate("Two"))
        stored.refresh_from_db()
        assert stored.ca_pem == certificate()
        change("")
        stored.refresh_from_db()
        assert stored.ca_pem == ""
    finally:
        gateway_check.install(accepting)
