"""What must not work when signing in, said over HTTP by somebody who need not keep to our pages."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import URLPattern
from tests.console.authenticator import App
from tests.console.visitor import Visitor, place, said
from tests.stage import Stage

from ostiary.console.sign_in import lockout
from ostiary.console.urls import urlpatterns
from ostiary.middleware import trusted_proxies

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

PASSWORD = "correct horse battery staple"
OTHER = "another battery staples horses"
SECOND_FACTOR = "/account/second-factor"

#: What anybody may ask for: the sign-in itself, and whether we are well.
OPEN = {
    "healthz", "readyz", "metrics", "doctor", "sign-in", "sign-in-link", "sign-in-passkey", "second-step", "passkey-options",
    "provider", "provider-callback", "sign-out", "openapi-json", "handover", "handover-document",
}  # fmt: skip


def closed_paths(*more_open: str) -> list[str]:
    """Every address of the console that is for members."""
    found = []
    for pattern in urlpatterns:
        if isinstance(pattern, URLPattern) and pattern.name not in {*OPEN, *more_open}:
            found.append("/" + re.sub(r"<[^>]*>", "1", str(pattern.pattern)))
    return found


API_PATHS = ["api_clients", "v2/members", "v2/settings", "v2/audit_events"]


@pytest.fixture
def visit(stage: Stage) -> Iterator[Callable[[], Visitor]]:
    made: list[Visitor] = []

    def visit(agent: str = "Visitor/1") -> Visitor:
        made.append(Visitor(stage, agent))
        return made[-1]

    yield visit
    for visitor in made:
        visitor.close()


Visit = Callable[..., Visitor]


def a_member(stage: Stage, visit: Visit, email: str, *, admin: bool = True) -> Visitor:
    """Signed in by link, with a password set."""
    visitor = visit()
    visitor.by_link(stage.a_member(email, admin=admin))
    assert place(visitor.post("/password", password=PASSWORD, again=PASSWORD)) == "/"
    return visitor


def an_app(visitor: Visitor, name: str = "Phone") -> tuple[App, list[str]]:
    """A second factor for a member who has just signed in; with the first one, recovery codes."""
    page = visitor.get(f"{SECOND_FACTOR}/app")
    found = re.search(r'id="secret" readonly value="([^"]+)"', page.text)
    assert found
    app = App(found[1])
    answer = visitor.post(f"{SECOND_FACTOR}/app", name=name, code=app.code())
    codes = re.search(r'<textarea id="codes"[^>]*>([^<]+)<', answer.text)
    return app, codes[1].split() if codes else []


def actions(stage: Stage, email: str) -> list[Any]:
    found = stage.done("GET", f"v2/audit_events?search={email}&per_page=100")["data"]
    return [event["action"] for event in reversed(found)]


def test_between_the_steps_there_is_nothing_but_the_second_step(stage: Stage, visit: Visit) -> None:
    an_app(a_member(stage, visit, "half@example.com"))
    half = visit()
    assert place(half.with_password("half@example.com", PASSWORD)) == "/sign-in/second-step"
    assert half.get("/sign-in/second-step").status_code == 200
    for path in closed_paths():
        for answer in (half.get(path), half.post(path)):
            assert answer.status_code in {302, 405}, path
            assert place(answer).startswith("/sign-in?") or answer.status_code == 405, path
        assert half.get(path).status_code != 200
    for path in API_PATHS:
        assert half.get(f"/api/{path}").status_code == 401, path
    for purpose in ("register", "confirm"):
        assert half.post("/passkeys/options", **{"for": purpose}).status_code == 400
    assert not half.is_in()


def test_a_session_has_another_key_after_each_step(stage: Stage, visit: Visit) -> None:
    app, _ = an_app(a_member(stage, visit, "keys@example.com"))
    visitor = visit()
    visitor.post("/passkeys/options", **{"for": "sign-in"})
    keys = [visitor.session]
    visitor.with_password("keys@example.com", PASSWORD)
    keys.append(visitor.session)
    assert place(visitor.post("/sign-in/second-step", code=app.next())) == "/"
    keys.append(visitor.session)
    assert place(visitor.post("/account/confirm", present=PASSWORD)) == "/"
    keys.append(visitor.session)
    assert None not in keys
    assert len(set(keys)) == 4
    assert visitor.is_in()
    for old in keys[:3]:
        thief = visit()
        thief.be(str(old))
        assert not thief.is_in()
        assert place(thief.get("/sign-in/second-step")) == "/sign-in"
    known = (stage.data / "ostiary.sqlite3").read_bytes()
    known += (stage.data / "ostiary.sqlite3-wal").read_bytes()
    assert str(keys[3]).encode() not in known, "who reads the database could step in"


def guesses_until_the_wait_is_long() -> Iterator[int]:
    """For who has used up the free tries: a slow machine must not let the first second pass."""
    for seconds in (1, 2, 4):
        time.sleep(seconds + 0.1)
        yield seconds


def test_codes_cannot_be_guessed(stage: Stage, visit: Visit) -> None:
    app, codes = an_app(a_member(stage, visit, "guess@example.com"))
    for _ in range(2):
        # Knowing the password, and so beginning anew, gives no new tries.
        guesser = visit()
        guesser.with_password("guess@example.com", PASSWORD)
        for guess in ("000000", "111111", "222222"):
            assert guesser.post("/sign-in/second-step", code=guess).status_code == 400
    right = app.next()
    for _ in guesses_until_the_wait_is_long():
        assert guesser.post("/sign-in/second-step", code="333333").status_code == 400
    refused = guesser.post("/sign-in/second-step", code=right)
    assert refused.status_code == 400, "the right code, too early"
    assert guesser.post("/sign-in/second-step", code=codes[0]).status_code == 400
    assert not guesser.is_in()
    assert "member.sign_in_refused" in actions(stage, "guess@example.com")


@pytest.fixture
def no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockout, "time", SimpleNamespace(monotonic=lambda: 1000.0))


@pytest.mark.usefixtures("no_time_passes")
def test_of_many_tries_at_once_few_are_judged() -> None:
    allowed: list[bool] = []
    start = threading.Barrier(40)

    def guess() -> None:
        start.wait()
        allowed.append(lockout.may_try("code:at-once"))

    threads = [threading.Thread(target=guess) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(allowed) == lockout.FREE


@pytest.mark.usefixtures("no_time_passes")
def test_who_guesses_at_many_accounts_waits_too() -> None:
    address = lockout.of_address("192.0.2.1")
    allowed = [lockout.may_try(f"email:{number}@example.com", address) for number in range(30)]
    assert sum(allowed) == lockout.FREE_OF_ADDRESS
    assert lockout.is_slow(address)
    lockout.succeeded(address)
    assert lockout.may_try("email:0@example.com", address)


def test_a_code_sent_twice_at_once_lets_one_in(stage: Stage, visit: Visit) -> None:
    app, _ = an_app(a_member(stage, visit, "twice@example.com"))
    visitors = [visit(), visit(), visit()]
    for visitor in visitors:
        visitor.with_password("twice@example.com", PASSWORD)
    code, places = app.next(), []
    threads = [
        threading.Thread(
            target=lambda v: places.append(place(v.post("/sign-in/second-step", code=code))),
            args=[visitor],
        )
        for visitor in visitors
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(places) == ["", "", "/"]


def test_unknown_and_wrong_look_alike(stage: Stage, visit: Visit) -> None:
    a_member(stage, visit, "known@example.com", admin=False)
    pages = []
    for email in ("known@example.com", "nobody@example.com"):
        answer = visit().with_password(email, "a wrong one, certainly")
        assert answer.status_code == 400
        pages.append(said(answer).replace(email, ""))
    assert pages[0] == pages[1]


def test_nothing_is_done_without_the_token_against_forgery(stage: Stage, visit: Visit) -> None:
    member = a_member(stage, visit, "forged@example.com")
    for path in [*closed_paths(), "/sign-in", "/sign-in/link", "/sign-in/second-step", "/sign-out",
                 "/sign-in/passkey", "/passkeys/options"]:  # fmt: skip
        assert member.post_bare(path, active="0").status_code == 403, path
    assert member.is_in()


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"]
)
def test_no_step_leads_elsewhere(stage: Stage, visit: Visit, target: str) -> None:
    email = f"{abs(hash(target))}@example.com"
    app, _ = an_app(a_member(stage, visit, email))
    visitor = visit()
    visitor.with_password(email, PASSWORD, next=target)
    assert place(visitor.post("/sign-in/second-step", code=app.next(), next=target)) == "/"
    assert "evil" not in visitor.get("/account/confirm", params={"next": target}).text
    assert place(visitor.post("/account/confirm", present=PASSWORD, next=target)) == "/"


def test_a_new_password_asks_for_the_present_one_and_ends_other_sessions(
    stage: Stage, visit: Visit
) -> None:
    email = "password@example.com"
    member = a_member(stage, visit, email)
    elsewhere = visit()
    elsewhere.with_password(email, PASSWORD)
    assert elsewhere.is_in()
    for present in ("", "not it"):
        answer = member.post("/password", password=OTHER, again=OTHER, present=present)
        assert answer.status_code == 400, "a link lets one password be set without, and no second"
    assert elsewhere.is_in()
    assert place(member.post("/password", password=OTHER, again=OTHER, present=PASSWORD)) == "/"
    assert member.is_in()
    assert not elsewhere.is_in()
    assert visit().with_password(email, PASSWORD).status_code == 400
    assert actions(stage, email).count("member.password") == 2


def test_a_second_factor_is_changed_by_who_shows_again_who_they_are(
    stage: Stage, visit: Visit
) -> None:
    member = a_member(stage, visit, "change@example.com")
    an_app(member)
    row = re.search(rf"{SECOND_FACTOR}/\d+", member.get("/account").text)
    assert row
    for form in ({"remove": "1"}, {"name": "Mine now"}):
        assert place(member.post(row[0], **form)).startswith("/account/confirm")
    assert place(member.post("/account/recovery-codes")).startswith("/account/confirm")
    assert "Phone" in member.get("/account").text
    other = a_member(stage, visit, "another@example.com")
    other.post("/account/confirm", present=PASSWORD)
    assert other.post(row[0], remove="1").status_code == 404
    assert place(member.post("/account/confirm", present=PASSWORD, next=row[0])) == row[0]
    assert place(member.post(row[0], name="Old phone")) == "/account"
    assert place(member.post(row[0], remove="1")) == "/account"
    assert "Old phone" not in member.get("/account").text.partition("Second factors")[2]
    found = actions(stage, "change@example.com")
    assert "member.second_factor_rename" in found
    assert "member.second_factor_remove" in found
    again = visit()
    assert place(again.with_password("change@example.com", PASSWORD)) == "/"


def test_the_first_second_factor_ends_the_sessions_without_it(stage: Stage, visit: Visit) -> None:
    member = a_member(stage, visit, "before@example.com")
    elsewhere = visit()
    elsewhere.with_password("before@example.com", PASSWORD)
    an_app(member)
    assert member.is_in()
    assert not elsewhere.is_in()


def test_what_is_under_way_ends_when_the_password_changes(stage: Stage, visit: Visit) -> None:
    member = a_member(stage, visit, "underway@example.com")
    app, _ = an_app(member)
    half = visit()
    half.with_password("underway@example.com", PASSWORD)
    member.post("/password", password=OTHER, again=OTHER, present=PASSWORD)
    assert place(half.post("/sign-in/second-step", code=app.next())) == "/sign-in"
    assert not half.is_in()


def test_sessions_are_listed_and_end_one_by_one(stage: Stage, visit: Visit) -> None:
    email = "sessions@example.com"
    member = a_member(stage, visit, email)
    chrome = "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/150.0 Safari/537.36"
    elsewhere = visit(chrome)
    elsewhere.with_password(email, PASSWORD)
    page = member.get("/account").text
    assert "Chrome on Windows" in page
    assert "127.0.0.1" in page
    ends = re.findall(r"/account/sessions/[0-9a-f]{64}/end", page)
    assert len(ends) == 1
    stranger = a_member(stage, visit, "stranger@example.com")
    assert stranger.post(ends[0]).status_code == 404
    assert elsewhere.is_in()
    assert place(member.post(ends[0])) == "/account"
    assert not elsewhere.is_in()
    assert member.is_in()
    assert "member.session_end" in actions(stage, email)


def test_a_member_who_was_off_is_not_signed_in_when_on_again(stage: Stage, visit: Visit) -> None:
    visitor = a_member(stage, visit, "off@example.com", admin=False)
    found = stage.done("GET", "v2/members?per_page=100")["data"]
    number = next(m["id"] for m in found if m["email"] == "off@example.com")
    for active in (False, True):
        stage.done("PUT", f"v2/members/{number}", {"active": active})
        assert not visitor.is_in()


def test_a_link_asks_for_the_second_factor_unless_it_is_reset(stage: Stage, visit: Visit) -> None:
    email = "lost@example.com"
    member = a_member(stage, visit, email)
    an_app(member)
    visitor = visit()
    answer = visitor.by_link(stage.command("member", "link", "--email", email))
    assert place(answer) == "/sign-in/second-step"
    link = stage.command("member", "link", "--email", email, "--reset-second-factor")
    assert not member.is_in(), "whoever has the lost device may be signed in with it"
    visitor = visit()
    assert place(visitor.by_link(link)) == "/"
    assert place(visitor.post("/password", password=OTHER, again=OTHER)) == "/"
    assert visitor.is_in()
    assert "member.second_factor_reset" in actions(stage, email)


def test_an_admin_resets_the_factor_of_others_and_not_the_own(stage: Stage, visit: Visit) -> None:
    admin, member = (
        a_member(stage, visit, "resets@example.com"),
        a_member(stage, visit, "resetted@example.com", admin=False),
    )
    an_app(admin)
    an_app(member)
    known = stage.done("GET", "v2/members?per_page=100")["data"]
    assert all(m["second_factor"] for m in known if m["email"].startswith("resett"))
    assert not all(m["second_factor"] for m in known)
    ids = {m["email"]: m["id"] for m in known}
    own, others = (
        f"/members/{ids[email]}/second-factor/reset"
        for email in ("resets@example.com", "resetted@example.com")
    )
    assert member.post(own).status_code == 403
    assert admin.post(own).status_code == 403
    link = admin.post(f"/members/{ids['resets@example.com']}/link", once="x")
    assert place(link).startswith("/account/confirm"), "a link sets a password without the old one"
    assert place(admin.post(others)) == "/members"
    assert not member.is_in()
    assert place(visit().with_password("resetted@example.com", PASSWORD)) == "/"


def test_where_a_second_factor_is_required_nothing_else_comes_before(
    stage: Stage, visit: Visit
) -> None:
    email = "must@example.com"
    first, second = a_member(stage, visit, email), visit()
    second.with_password(email, PASSWORD)
    stage.done("PUT", "v2/settings", {"require_second_factor": True})
    try:
        before = closed_paths("second-factor", "add-app", "add-passkey", "confirm", "set-password")
        for path in before:
            for answer in (first.get(path), first.post(path)):
                assert place(answer) == SECOND_FACTOR, path
        assert "asks every member" in first.get(SECOND_FACTOR).text
        for path in API_PATHS:
            assert first.get(f"/api/{path}").status_code == 401
        app, codes = an_app(first)
        assert len(codes) == 10
        assert first.is_in()
        assert not second.is_in()
        row = re.search(rf"{SECOND_FACTOR}/\d+", first.get("/account").text)
        assert row
        first.post("/account/confirm", present=PASSWORD)
        first.post(row[0], remove="1")
        assert "add another one first" in first.get("/account").text
        again = visit()
        again.with_password(email, PASSWORD)
        assert place(again.post("/sign-in/second-step", code=app.next())) == "/"
        assert again.is_in()
    finally:
        stage.done("PUT", "v2/settings", {"require_second_factor": False})


def test_secrets_are_in_no_log_and_readable_in_no_database(stage: Stage, visit: Visit) -> None:
    member = a_member(stage, visit, "secrets@example.com")
    page = member.get(f"{SECOND_FACTOR}/app")
    shown = re.search(r'id="secret" readonly value="([^"]+)"', page.text)
    assert shown
    secret = shown[1].replace(" ", "")
    drafted = _stored(stage)
    app = App(secret)
    answer = member.post(f"{SECOND_FACTOR}/app", name="Phone", code=app.code())
    codes = re.search(r'<textarea id="codes"[^>]*>([^<]+)<', answer.text)
    assert codes
    told = "\n".join(stage.lines)
    for text in (secret, *codes[1].split(), *codes[1].replace("-", "").split(), PASSWORD):
        assert text.encode() not in drafted + _stored(stage)
        assert text not in told


def _stored(stage: Stage) -> bytes:
    names = ("ostiary.sqlite3", "ostiary.sqlite3-wal")
    return b"".join((stage.data / name).read_bytes() for name in names)


def test_a_caller_is_who_a_trusted_proxy_says_and_nobody_else(stage: Stage, visit: Visit) -> None:
    email = "behind@example.com"
    a_member(stage, visit, email)
    claimed = {"X-Forwarded-For": "198.51.100.9, 203.0.113.7"}

    def signs_in() -> str:
        visitor = visit()
        visitor.headers(claimed)
        visitor.with_password(email, PASSWORD)
        return visitor.get("/account").text.partition("Where you are signed in")[2]

    assert "203.0.113.7" not in signs_in()
    stage.done("PUT", "v2/settings", {"trusted_proxies": ["127.0.0.1"]})
    try:
        page = signs_in()
        assert "203.0.113.7" in page
        assert "198.51.100.9" not in page, "the caller wrote that"
        guesser = visit()
        guesser.headers({"X-Forwarded-For": "203.0.113.66"})
        # Of one address behind the proxy, who then has to wait.
        for number in range(lockout.FREE_OF_ADDRESS):
            guesser.with_password(f"guess-{number}@example.com", "wrong")
        for number in guesses_until_the_wait_is_long():
            guesser.with_password(f"late-{number}@example.com", "wrong")
        guesser.with_password(email, PASSWORD)
        assert not guesser.is_in()
        assert "203.0.113.7" in signs_in(), "others do not wait for it"
    finally:
        stage.done("PUT", "v2/settings", {"trusted_proxies": []})


@pytest.mark.parametrize(
    ("peer", "forwarded", "caller"),
    [
        ("10.0.0.1", "192.0.2.1", "192.0.2.1"),
        ("192.0.2.9", "192.0.2.1", "192.0.2.9"),
        ("10.0.0.1", "192.0.2.1, 10.0.0.2", "192.0.2.1"),
        ("10.0.0.1", "192.0.2.1, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "192.0.2.1, nonsense", "10.0.0.1"),
        ("10.0.0.1", "nonsense, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", ",", "10.0.0.1"),
        ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("", "192.0.2.1", ""),
    ],
)
def test_an_address_is_believed_as_far_as_proxies_are(
    peer: str, forwarded: str, caller: str
) -> None:
    assert trusted_proxies.caller(peer, forwarded, ["10.0.0.0/8"]) == caller


@pytest.mark.parametrize("host", ["localhost:99999", "localhost:", "[::1]", "x" * 300, "a b", "["])
def test_any_host_header_is_answered(visit: Visit, host: str) -> None:
    answer = visit().get("/sign-in", headers={"Host": host})
    assert answer.status_code in {200, 400}
