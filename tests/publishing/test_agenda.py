"""What counts as published, and who waits for whom."""

from hypothesis import given
from hypothesis import strategies as st

from ostiary.publishing.agenda import MOST_REMEMBERED, SLOW, Agenda, WorkKind


def agenda(read: int, *items: tuple[WorkKind, int, int | None]) -> Agenda:
    made = Agenda()
    made.read = read
    for part, object_id, sequence in items:
        made.add(part, object_id, sequence)
    return made


def test_published_is_what_lies_before_the_first_that_is_not_done() -> None:
    work = agenda(
        9, (WorkKind.ENDPOINT, 1, 5), (WorkKind.ENDPOINT, 2, 7), (WorkKind.ENDPOINT, 1, 8)
    )
    assert work.published == 4
    assert work.take(WorkKind.ENDPOINT, most=1) == [1]
    assert work.published == 4
    work.done(WorkKind.ENDPOINT, [1])
    assert work.published == 6
    work.done(WorkKind.ENDPOINT, work.take(WorkKind.ENDPOINT, most=9))
    assert work.published == 9


def test_a_change_during_the_work_is_work_again() -> None:
    work = agenda(5, (WorkKind.ENDPOINT, 1, 5))
    work.take(WorkKind.ENDPOINT, most=1)
    work.add(WorkKind.ENDPOINT, 1, 6)
    work.read = 6
    assert work.take(WorkKind.ENDPOINT, most=1) == []
    work.done(WorkKind.ENDPOINT, [1])
    assert work.published == 5
    assert work.take(WorkKind.ENDPOINT, most=1) == [1]
    work.again(WorkKind.ENDPOINT, [1])
    assert work.published == 5
    assert not work.is_confirmed(6)


def test_slow_work_of_others_holds_up_nobody() -> None:
    work = agenda(9, (WorkKind.ENDPOINTS, 1, 5), (WorkKind.PREPARED, 2, 6))
    assert work.published == 4
    assert [n for n in range(1, 11) if work.is_confirmed(n)] == [1, 2, 3, 4, 7, 8, 9]
    (taken,) = work.take(WorkKind.PREPARED, most=9)
    work.again(WorkKind.PREPARED, [taken], then=WorkKind.CONNECTION)
    assert not work.is_confirmed(7)
    work.done(WorkKind.CONNECTION, work.take(WorkKind.CONNECTION, most=9))
    assert work.is_confirmed(7)
    assert not work.is_confirmed(5)


def test_nothing_is_confirmed_before_everything_was_compared() -> None:
    work = agenda(9)
    work.add_everything()
    work.read = 12
    assert work.published == 0
    assert [n for n in range(1, 13) if work.is_confirmed(n)] == [10, 11, 12]
    work.done(WorkKind.EVERYTHING, work.take(WorkKind.EVERYTHING, most=1))
    assert work.published == 12


def test_comparing_again_takes_nothing_back() -> None:
    work = agenda(9, (WorkKind.EVERYTHING, 0, None))
    assert work.published == 9
    assert work.is_confirmed(9)


@given(st.lists(st.tuples(st.sampled_from(list(WorkKind)), st.integers(1, 3), st.booleans())))
def test_no_change_is_confirmed_before_its_own_work_is_done(
    steps: list[tuple[WorkKind, int, bool]],
) -> None:
    work = Agenda()
    undone: dict[tuple[WorkKind, int], set[int]] = {}
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
    agenda.add(WorkKind.ENDPOINTS, 1, 1)
    agenda.add(WorkKind.ENDPOINT, 7, 2)
    agenda.add(WorkKind.ENDPOINTS, 1, 3)
    agenda.read = 3
    agenda.take(WorkKind.ENDPOINT, most=10)
    agenda.done(WorkKind.ENDPOINT, [7])
    assert [agenda.is_confirmed(sequence) for sequence in (1, 2, 3)] == [False, True, False]
    agenda.take(WorkKind.ENDPOINTS, most=1)
    agenda.add(WorkKind.ENDPOINTS, 1, 4)
    agenda.read = 4
    agenda.again(WorkKind.ENDPOINTS, [1])
    assert [agenda.is_confirmed(sequence) for sequence in (1, 2, 3, 4)] == [
        False, True, False, False,
    ]  # fmt: skip
    agenda.take(WorkKind.ENDPOINTS, most=1)
    agenda.done(WorkKind.ENDPOINTS, [1])
    assert all(agenda.is_confirmed(sequence) for sequence in (1, 2, 3, 4))


def test_what_it_remembers_of_one_object_is_bounded() -> None:
    agenda = Agenda()
    for sequence in range(1, 3 * MOST_REMEMBERED):
        agenda.add(WorkKind.ENDPOINTS, 1, sequence)
    agenda.read = 3 * MOST_REMEMBERED
    assert not any(agenda.is_confirmed(sequence) for sequence in (1, 2 * MOST_REMEMBERED + 5))
    assert agenda.published == 0
    agenda.take(WorkKind.ENDPOINTS, most=1)
    agenda.done(WorkKind.ENDPOINTS, [1])
    assert agenda.published == agenda.read
