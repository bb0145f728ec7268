"""Decisions on their way: what the authority writes is what Lua reads, and nothing else is read."""

from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.lua.leasing import REFUSALS, a_lease, leases
from tests.lua.nginx import Machine, Worker

from ostiary.access.reasons import Reason
from ostiary.gateway.contract import (
    LEASE,
    LEASE_TEXTS,
    REFUSAL,
    Lease,
    Refusal,
    code,
    lua_module,
    values,
    write_answer,
)

_WORKER = Worker(Machine())
_LEASES = _WORKER.require("ostiary.leases")


def _text(answer: Lease | Refusal) -> str:
    return write_answer(answer).decode("latin-1")


@given(leases())
def test_a_lease_is_read_as_it_was_written(lease: Lease) -> None:
    table = _LEASES.read(_text(lease))
    assert table is not None
    assert {name: table[name] for name in LEASE} == asdict(lease)
    assert _LEASES.read_refusal(_text(lease)) is None


@given(REFUSALS)
def test_a_refusal_is_read_as_it_was_written(refusal: Refusal) -> None:
    table = _LEASES.read_refusal(_text(refusal))
    assert table is not None
    assert {name: table[name] for name in REFUSAL} == asdict(refusal)
    assert _LEASES.read(_text(refusal)) is None


#: What is no number as the authority writes one.
_NO_NUMBER = st.one_of(
    st.sampled_from(
        [
            "",
            "nan",
            "inf",
            "-inf",
            "infinity",
            "-1",
            "+1",
            "1.5",
            "1e3",
            "0x10",
            " 1",
            "1 ",
            "1,0",
            "1_0",
            "9" * 16,
            "1\n",
            "1\0",
            "--",
            "A",
        ]  # fmt: skip
    ),
    st.text(st.characters(max_codepoint=0xFF, exclude_characters="\t")).filter(
        lambda text: not (text.isascii() and text.isdigit() and len(text) <= 15)
    ),
)
_NUMBERS = [place for place, name in enumerate(LEASE, start=1) if name not in LEASE_TEXTS]


@given(leases(), st.sampled_from(_NUMBERS), _NO_NUMBER)
def test_a_lease_with_a_field_that_is_no_number_is_refused(
    lease: Lease, place: int, word: str
) -> None:
    words = _text(lease).split("\t")
    words[place] = word
    assert _LEASES.read("\t".join(words)) is None


@given(REFUSALS, st.integers(1, len(REFUSAL)), _NO_NUMBER)
def test_a_refusal_with_a_field_that_is_no_number_is_refused(
    refusal: Refusal, place: int, word: str
) -> None:
    words = _text(refusal).split("\t")
    words[place] = word
    assert _LEASES.read_refusal("\t".join(words)) is None


@given(leases(), st.integers(0, len(LEASE)))
def test_a_lease_with_a_field_too_few_or_too_many_is_refused(lease: Lease, place: int) -> None:
    words = _text(lease).split("\t")
    assert _LEASES.read("\t".join(words[:place] + words[place + 1 :])) is None
    assert _LEASES.read("\t".join([*words[:place], "1", *words[place:]])) is None


@given(leases(), st.data())
def test_a_lease_that_is_cut_short_is_refused(lease: Lease, data: st.DataObject) -> None:
    text = _text(lease)
    end = data.draw(st.integers(0, text.rindex("\t")))
    assert _LEASES.read(text[:end]) is None


@given(leases(), st.text(st.characters(max_codepoint=0xFF), max_size=3))
def test_a_lease_begins_with_its_mark(lease: Lease, mark: str) -> None:
    if mark != "A":
        assert _LEASES.read(mark + _text(lease)[1:]) is None


@given(st.text(st.characters(max_codepoint=0xFF)))
def test_any_other_text_is_neither(text: str) -> None:
    assert _LEASES.read(text) is None
    assert _LEASES.read_refusal(text) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"profile": 0}, {"sequence": 0}, {"expires": 0}, {"method": 0}, {"method": 9}, {"bound": 2},
        {"report_only": 2}, {"legacy_headers": 2},
        {"rates": "10", "rates_used": "0:0"}, {"rates": "0:60", "rates_used": "0:0"},
        {"rates": "1000000001:60", "rates_used": "0:0"}, {"rates": "10:61", "rates_used": "0:0"},
        {"rates": "10:60"}, {"rates": "10:60", "rates_used": "x:0"},
        {"rates": "1:1,10:60", "rates_used": "0:0"}, {"rates": "-1:60", "rates_used": "0:0"},
        {"quota": 1_000_000_001, "quota_starts": 1, "quota_ends": 2},
        {"quota": 10, "quota_starts": 5, "quota_ends": 5},
    ],
    ids=str,
)  # fmt: skip
def test_a_lease_that_makes_no_sense_is_refused(changed: dict[str, Any]) -> None:
    assert _LEASES.read(_text(Lease(**{**asdict(a_lease()), **changed}))) is None


def test_a_refusal_for_no_known_reason_is_refused() -> None:
    refusal = Refusal(profile=1, bound=0, sequence=1, expires=0, code=9999, trace=0)
    assert _LEASES.read_refusal(_text(refusal)) is None


# --- what workers remember and share ---------------------------------------------------------------


class _Call:
    """A worker that has one route, for calls that present one credential."""

    def __init__(self, machine: Machine) -> None:
        self.worker = Worker(machine)
        self.leases = self.worker.require("ostiary.leases")
        self.epochs = self.worker.require("ostiary.epochs")
        self.epochs.init()
        self.route = self.worker.run("return { id = 5, leases = {} }")

    def call(self, address: str, form: str = "t") -> Any:
        table = {"form": form, "presented": "token", "key": "token", "address": address}
        return self.worker.table({**table, "route": self.route})

    def keep(self, lease: Lease, address: str) -> None:
        text = _text(lease)
        self.leases.keep(self.call(address), text, self.leases.read(text))

    def recalled(self, address: str, form: str = "t") -> bool:
        lease = self.leases.recall(self.route, form, "token", address)
        return lease is not None and self.fresh(lease)

    def loaded(self, address: str) -> bool:
        now = int(self.worker.machine.now)
        return self.leases.load(self.call(address), now, self.epochs.changes()) is not None

    def fresh(self, lease: Any) -> bool:
        return bool(self.leases.fresh(lease, int(self.worker.machine.now), self.epochs.changes()))


def test_a_lease_is_good_for_any_address_on_every_worker_until_it_expires() -> None:
    machine = Machine()
    one, other = _Call(machine), _Call(machine)
    one.keep(a_lease(expires=int(machine.now) + 10), "192.0.2.1")
    assert one.recalled("192.0.2.9")
    assert not other.recalled("192.0.2.9")
    assert other.loaded("192.0.2.9")
    assert other.recalled("192.0.2.9")
    machine.now += 10
    assert not (
        one.recalled("192.0.2.9") or other.recalled("192.0.2.9") or other.loaded("192.0.2.9")
    )


def test_a_lease_that_is_bound_is_good_for_its_address_alone() -> None:
    machine = Machine()
    one, other = _Call(machine), _Call(machine)
    lease = Lease(**{**asdict(a_lease(expires=int(machine.now) + 10)), "bound": 1})
    one.keep(lease, "192.0.2.1")
    assert one.recalled("192.0.2.1")
    assert not one.recalled("192.0.2.2")
    assert not one.loaded("192.0.2.2")
    assert other.loaded("192.0.2.1")


def test_a_bearer_token_has_no_part_in_what_the_same_text_was_allowed_as_an_api_token() -> None:
    one = _Call(Machine())
    one.keep(a_lease(expires=int(one.worker.machine.now) + 10), "192.0.2.1")
    assert one.recalled("192.0.2.1", "t")
    assert not one.recalled("192.0.2.1", "b")


@pytest.mark.parametrize("key", ["p1", "c2", "l3", "k4", "e5"])
def test_a_change_of_what_a_lease_rests_on_voids_it_on_every_worker(key: str) -> None:
    machine = Machine()
    one, other = _Call(machine), _Call(machine)
    one.keep(a_lease(expires=int(machine.now) + 10), "192.0.2.1")
    other.loaded("192.0.2.1")
    one.epochs.write(one.worker.table({key: 7, "p9": 100}), 100)
    assert one.recalled("192.0.2.1")
    assert other.recalled("192.0.2.1")
    other.epochs.write(other.worker.table({key: 8}), 101)
    assert not (one.recalled("192.0.2.1") or other.recalled("192.0.2.1") or one.loaded("192.0.2.1"))


def test_where_an_epoch_finds_no_room_every_lease_is_void() -> None:
    machine = Machine()
    one = _Call(machine)
    one.keep(a_lease(expires=int(machine.now) + 10), "192.0.2.1")
    machine.shared["epochs"].room = 3
    assert one.epochs.write(one.worker.table({"p999": 8}), 8) is True
    assert not (one.recalled("192.0.2.1") or one.loaded("192.0.2.1"))


def test_a_lost_count_of_changes_is_never_taken_for_no_change() -> None:
    machine = Machine()
    one = _Call(machine)
    one.keep(a_lease(expires=int(machine.now) + 10), "192.0.2.1")
    for key in machine.shared["epochs"].get_keys(0):
        machine.shared["epochs"].delete(key)
    lease = one.leases.recall(one.route, "t", "token", "192.0.2.1")
    assert one.epochs.changes() is None
    assert not one.epochs.holds(lease)


def test_the_contract_s_values_are_the_same_in_lua() -> None:
    table = _WORKER.run("return require('contract')")
    expected = values()
    assert sorted(table) == sorted(expected)
    assert list(table.lease.values()) == list(LEASE)
    assert table.codes[Reason.RATE_LIMITED.name.lower()] == code(Reason.RATE_LIMITED)
    for name, value in expected.items():
        assert _python(table[name], value) == value, name
    assert lua_module().startswith("-- Rendered")


def _python(value: Any, like: Any) -> Any:
    """A Lua value as Python has it, in the shape of another."""
    if isinstance(like, list):
        return [_python(item, like[0]) for item in value.values()]
    if isinstance(like, dict):
        return {str(key): _python(item, next(iter(like.values()))) for key, item in value.items()}
    return value
