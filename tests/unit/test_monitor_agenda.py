from monitor.agenda import Agenda


def test_what_is_due_comes_in_the_order_of_its_moments_and_only_once() -> None:
    done: list[str] = []
    agenda = Agenda()
    for moment, name in ((3.0, "third"), (1.0, "first"), (2.0, "second"), (9.0, "later")):
        agenda.at(moment, lambda name=name: done.append(name))
    for _again in range(2):
        for call in agenda.due(3.0):
            call()
    assert done == ["first", "second", "third"]


def test_a_call_that_plans_itself_anew_for_later_does_not_keep_the_others_waiting() -> None:
    done: list[float] = []
    agenda = Agenda()

    def again() -> None:
        done.append(1.0)
        agenda.at(2.0, again)

    agenda.at(1.0, again)
    for call in agenda.due(1.5):
        call()
    assert done == [1.0]


def test_one_waits_for_the_next_entry_at_most_so_long_and_never_less_than_not_at_all() -> None:
    agenda = Agenda()
    assert agenda.seconds_until_next(10.0, most=0.5) == 0.5
    agenda.at(10.25, lambda: None)
    assert agenda.seconds_until_next(10.0, most=0.5) == 0.25
    assert agenda.seconds_until_next(11.0, most=0.5) == 0.0
