"""What counts as published, and who waits for whom."""

from hypothesis import given
from hypothesis import strategies as st

from ostiary.publishing.agenda import MOST_REMEMBERED, SLOW, Agenda, Part


def agenda(read: int, *items: tuple[Part, int, int | None]) -> Agenda:
    made = Agenda()
    made.read = read
    for part, object_id, sequence in items:
        made.add(part, object_id, sequence)
    return made


def test_published_is_what_lies_before_the_first_that_is_not_done() -> None:
    work = agenda(9, (Part.ENDPOINT, 1, 5), (Part.ENDPOINT, 2, 7), (Part.ENDPOINT, 1, 8))
    assert work.published == 4
    assert work.take(Part.ENDPOINT, most=1) == [1]
    assert work.published == 4
    work.done(Part.ENDPOINT, [1])
    assert work.published == 6
    work.done(Part.ENDPOINT, work.take(Part.ENDPOINT, most=9))
    assert work.published == 9


def test_a_change_during_the_work_is_work_again() -> None:
    work = agenda(5, (Part.ENDPOINT, 1, 5))
    work.take(Part.ENDPOINT, most=1)
    work.add(Part.ENDPOINT, 1, 6)
    work.read = 6
    assert work.take(Part.ENDPOINT, most=1) == []
    work.done(Part.ENDPOINT, [1])
    assert work.published == 5
    assert work.take(Part.ENDPOINT, most=1) == [1]
    work.again(Part.ENDPOINT, [1])
    assert work.published == 5
    assert not work.is_confirmed(6)


def test_slow_work_of_others_holds_up_nobody() -> None:
    work = agenda(9, (Part.ENDPOINTS, 1, 5), (Part.PREPARED, 2, 6))
    assert work.published == 4
    assert [n for n in range(1, 11) if work.is_confirmed(n)] == [1, 2, 3, 4, 7, 8, 9]
    (taken,) = work.take(Part.PREPARED, most=9)
    work.again(Part.PREPARED, [taken], then=Part.CONNECTION)
    assert not work.is_confirmed(7)
    work.done(Part.CONNECTION, work.take(Part.CONNECTION, most=9))
    assert work.is_confirmed(7)
    assert not work.is_confirmed(5)


def test_nothing_is_confirmed_before_everything_was_compared() -> None:
    work = agenda(9)
    work.add_everything()
    work.read = 12
    assert work.published == 0
    assert [n for n in range(1, 13) if work.is_confirmed(n)] == [10, 11, 12]
    work.done(Part.EVERYTHING, work.take(Part.EVERYTHING, most=1))
    assert work.published == 12


def test_comparing_again_takes_nothing_back() -> None:
    work = agenda(9, (Part.EVERYTHING, 0, None))
    assert work.published == 9
    assert work.is_confirmed(9)


@given(st.lists(st.tuples(st.sampled_from(list(Part)), st.integers(1, 3), st.booleans())))
def test_no_change_is_confirmed_before_its_own_work_is_done(
    steps: list[tuple[Part, int, bool]],
) -> None:
    work = Agenda()
    undone: dict[tuple[Part, int], set[int]] = {}
    for part, object_id, adds in steps:
        if adds:
            work.read += 1
            work.add(part, object_id, work.read)
            undone.setdefault((part, object_id), set()).add(work.read)
        elif taken := work.take(part, most=2):
            work.done(part, taken)
            for each in taken:
                del undone[part, each]
        pending = {sequence for sequences in undone.values() for sequence in sequences}
        quick = {s for (p, _), sequences in undone.items() if p not in SLOW for s in sequences}
        assert work.published == min(pending, default=work.read + 1) - 1
        for sequence in range(1, work.read + 1):
            if work.is_confirmed(sequence):
                assert sequence not in pending
                assert all(sequence < other for other in quick)
            elif sequence <= work.published:
                raise AssertionError("what is published is confirmed")


def test_an_object_that_is_changed_again_and_again_holds_up_only_its_own_changes() -> None:
    agenda = Agenda()
    agenda.add(Part.ENDPOINTS, 1, 1)
    agenda.add(Part.ENDPOINT, 7, 2)
    agenda.add(Part.ENDPOINTS, 1, 3)
    agenda.read = 3
    agenda.take(Part.ENDPOINT, most=10)
    agenda.done(Part.ENDPOINT, [7])
    assert [agenda.is_confirmed(sequence) for sequence in (1, 2, 3)] == [False, True, False]
    agenda.take(Part.ENDPOINTS, most=1)
    agenda.add(Part.ENDPOINTS, 1, 4)
    agenda.read = 4
    agenda.again(Part.ENDPOINTS, [1])
    assert [agenda.is_confirmed(sequence) for sequence in (1, 2, 3, 4)] == [
        False, True, False, False,
    ]  # fmt: skip
    agenda.take(Part.ENDPOINTS, most=1)
    agenda.done(Part.ENDPOINTS, [1])
    assert all(agenda.is_confirmed(sequence) for sequence in (1, 2, 3, 4))


def test_what_it_remembers_of_one_object_is_bounded() -> None:
    agenda = Agenda()
    for sequence in range(1, 3 * MOST_REMEMBERED):
        agenda.add(Part.ENDPOINTS, 1, sequence)
    agenda.read = 3 * MOST_REMEMBERED
    assert not any(agenda.is_confirmed(sequence) for sequence in (1, 2 * MOST_REMEMBERED + 5))
    assert agenda.published == 0
    agenda.take(Part.ENDPOINTS, most=1)
    agenda.done(Part.ENDPOINTS, [1])
    assert agenda.published == agenda.read
