"""What an operator may set: checked once, refused in one sentence."""

import os
import socket
from pathlib import Path

import pytest

from ostiary import settings
from ostiary.settings import NUMBERS, SettingsError, load


def test_defaults_of_numbers() -> None:
    current = load({})
    assert (current.gateway_workers, current.lease_megabytes, current.log_rate) == (2, 256, 1000)
    assert current.ceilings == settings.Ceilings(
        upcalls_per_second=500, upcalls_per_project=2000, leases_per_profile=20_000
    )


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_taken_within_its_range_alone(name: str) -> None:
    field = name.removeprefix("OSTIARY_").lower()
    least, most = NUMBERS[name].least, NUMBERS[name].most
    for good in (least, most):
        assert getattr(load({name: str(good)}), field) == good
    for bad in (str(least - 1), str(most + 1), "-1", "1.5", "x", "٣", "9" * 5000):
        with pytest.raises(
            SettingsError, match=rf"^{name} must be a number from {least} to {most}"
        ):
            load({name: bad})


def test_sockets_for_another_process_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() + 1))
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_FDNAMES", "gateway")
    assert settings.take_inherited() == {}
    assert "LISTEN_FDS" not in os.environ  # noqa: TID251 - the environment of what it starts


def test_sockets_are_taken_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "2")
    monkeypatch.setenv("LISTEN_FDNAMES", "control:gateway")
    monkeypatch.setenv("OSTIARY_FD_LOCK", "9")
    assert settings.take_inherited() == {"control": 3, "gateway": 4, "lock": 9}
    # Each is taken once.
    assert settings.take_inherited() == {}


@pytest.mark.parametrize("names", ["", "gateway:gateway", "gateway", "gateway:other"])
def test_sockets_without_names_of_ours_are_refused(
    monkeypatch: pytest.MonkeyPatch, names: str
) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "2")
    monkeypatch.setenv("LISTEN_FDNAMES", names)
    with pytest.raises(SettingsError, match="must be named gateway and control, each once"):
        settings.take_inherited()


def test_the_folder_of_sockets_leaves_room_for_the_longest_name() -> None:
    data = Path("/" + "x" * (settings.LONGEST_RUN - len("//run")))
    assert load({"OSTIARY_DATA": str(data)}).run == data / "run"
    longer = data.with_name(data.name + "x")
    assert load({"OSTIARY_DATA": str(longer)}).run.parent != longer


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://Console.Example.com/", "https://console.example.com"),
        ("https://console.example.com:443", "https://console.example.com"),
        ("https://console.example.com:08443", "https://console.example.com:8443"),
        ("http://localhost:80", "http://localhost"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
    ],
)
def test_a_public_url_is_kept_as_browsers_send_it(text: str, origin: str) -> None:
    assert load({"OSTIARY_CONSOLE_URL": text}).console_url == origin


def test_the_address_of_the_documents_has_no_slash_at_its_end() -> None:
    assert load({}).docs_url == ""
    assert load({"OSTIARY_DOCS_URL": "https://docs.example.com/ost/"}).docs_url == (
        "https://docs.example.com/ost"
    )
    for text in (
        "docs.example.com",
        "javascript:alert(1)",
        "https://u@docs.example.com",
        "http://x?y",
    ):
        with pytest.raises(SettingsError, match="OSTIARY_DOCS_URL must be"):
            load({"OSTIARY_DOCS_URL": text})


@pytest.mark.parametrize(
    "text",
    [
        "console.example.com", "ftp://console.example.com", "https://console.example.com/path",
        "https://u:p@console.example.com", "https://console.example.com:0", "https://", "https://a b",
        "https://console.example.com:70000", "https://console.example.com?x",
    ],
)  # fmt: skip
def test_what_is_no_public_url_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="OSTIARY_CONSOLE_URL must be an http or https URL"):
        load({"OSTIARY_CONSOLE_URL": text})


def test_urls_with_passwords_come_from_files_too(tmp_path: Path) -> None:
    path = tmp_path / "url"
    for name in ("OSTIARY_DATABASE_URL", "OSTIARY_REDIS_URL"):
        for text, said in (("", "is empty"), ("nowhere", "must be")):
            path.write_text(text)
            with pytest.raises(SettingsError, match=said):
                load({f"{name}_FILE": str(path)})
        with pytest.raises(SettingsError, match="cannot be read: no such file"):
            load({f"{name}_FILE": str(tmp_path / "none")})
        with pytest.raises(SettingsError, match="are both set"):
            load({f"{name}_FILE": str(path), name: "x"})
    path.write_text("rediss://:secret@valkey.internal:6379/0\n")
    found = load({"OSTIARY_REDIS_URL_FILE": str(path)})
    assert found.redis_url == "rediss://:secret@valkey.internal:6379/0"
    assert found.fence_seconds == 5
    path.write_text("postgres://o:secret@db.internal/o\n")
    assert load({"OSTIARY_DATABASE_URL_FILE": str(path)}).database.host == "db.internal"


def test_the_consoles_key_lies_beside_its_certificate_or_in_it() -> None:
    one = load({"OSTIARY_CONSOLE_CERTIFICATE": "/a.pem"})
    assert one.console_key_file == Path("/a.pem")
    two = load({"OSTIARY_CONSOLE_CERTIFICATE": "/a.pem", "OSTIARY_CONSOLE_KEY": "/a.key"})
    assert two.console_key_file == Path("/a.key")
    with pytest.raises(SettingsError, match="needs OSTIARY_CONSOLE_CERTIFICATE"):
        load({"OSTIARY_CONSOLE_KEY": "/a.key"})


def test_a_fence_is_up_by_default_where_several_gateways_count_together() -> None:
    assert load({}).fence_seconds == 0
    several = {"OSTIARY_REDIS_URL": "redis://127.0.0.1:6379/0"}
    assert load(several).fence_seconds == 5
    assert load({**several, "OSTIARY_FENCE_SECONDS": "0"}).fence_seconds == 0
    assert load({"OSTIARY_FENCE_SECONDS": "600"}).fence_seconds == 600


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("OSTIARY_FENCE_SECONDS", text) for text in ("1", "601", "-1", "x", "٣", "1.5")),
        *(("OSTIARY_NODE", text) for text in ("a b", "a" * 33, "a/b", "ä", "a\n")),
    ],
)
def test_a_wrong_fence_or_name_of_a_node_is_refused(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} must "):
        load({name: text})


def test_a_url_of_a_store_that_is_none_is_refused_and_not_repeated() -> None:
    for text in ("redis", "http://secret@127.0.0.1", "redis://"):
        with pytest.raises(SettingsError, match=r"^OSTIARY_REDIS_URL must") as refused:
            load({"OSTIARY_REDIS_URL": text})
        assert "secret" not in str(refused.value)


def test_a_long_name_of_a_host_is_shortened_and_told_from_its_like(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = set()
    for last in "ab":
        monkeypatch.setattr(socket, "gethostname", lambda last=last: "gateway-" * 6 + last)
        names.add(load({}).node)
    assert len(names) == 2
    assert {len(name) for name in names} == {settings.LONGEST_NODE}
