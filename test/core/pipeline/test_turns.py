import threading

from gps_denied_inference.core.pipeline import Turn, Turns

_TIMEOUT_S = 20.0


def _wait_for_asking(turns: Turns, count: int) -> None:
    pause = threading.Event()
    for _ in range(int(_TIMEOUT_S / 0.005)):
        if len(turns._waiting) == count:
            return
        pause.wait(0.005)
    raise AssertionError(f"{count} did not ask in time")


def _take(turns: Turns) -> Turn:
    turn = turns.take(0, lambda: True)
    assert turn is not None
    return turn


def test_the_most_urgent_is_next_and_equals_come_in_the_order_of_asking() -> None:
    turns = Turns()
    held = _take(turns)
    order: list[str] = []

    def work(name: str, priority: int) -> None:
        turn = turns.take(priority, lambda: True)
        assert turn is not None
        order.append(name)
        turn.give_back()

    threads = []
    for count, (name, priority) in enumerate((("b", 1), ("c", 1), ("d", 0), ("a", 7)), start=1):
        threads.append(threading.Thread(target=work, args=(name, priority), daemon=True))
        threads[-1].start()
        _wait_for_asking(turns, count)
    assert order == []
    held.give_back()
    for thread in threads:
        thread.join(_TIMEOUT_S)
    assert order == ["a", "b", "c", "d"]


def test_turn_that_is_not_wanted_any_more_ends_the_waiting() -> None:
    turns = Turns()
    held = _take(turns)
    is_wanted = True
    got: list[Turn | None] = []
    thread = threading.Thread(target=lambda: got.append(turns.take(9, lambda: is_wanted)), daemon=True)
    thread.start()
    _wait_for_asking(turns, 1)
    is_wanted = False
    turns.wake()
    thread.join(_TIMEOUT_S)
    assert got == [None]
    held.give_back()
    assert _take(turns)


def test_turn_given_back_twice_takes_nobody_elses_away() -> None:
    turns = Turns()
    first = _take(turns)
    first.give_back()
    second = _take(turns)
    first.give_back()  # what was abandoned returns after all
    got: list[Turn | None] = []
    thread = threading.Thread(target=lambda: got.append(turns.take(0, lambda: True)), daemon=True)
    thread.start()
    _wait_for_asking(turns, 1)
    assert got == []
    second.give_back()
    thread.join(_TIMEOUT_S)
    assert len(got) == 1


def test_announced_turn_keeps_the_less_urgent_waiting_until_it_is_taken_or_withdrawn() -> None:
    turns, urgent, other = Turns(), object(), object()
    for ending in ("taken", "withdrawn"):
        turns.announce(urgent, 5)
        got: list[Turn | None] = []
        thread = threading.Thread(
            target=lambda got=got: got.append(turns.take(4, lambda: True, other)),
            daemon=True,
        )
        thread.start()
        _wait_for_asking(turns, 1)
        thread.join(0.05)
        assert got == [], ending
        if ending == "taken":
            turn = turns.take(5, lambda: True, urgent)
            assert turn is not None
            turn.give_back()
        else:
            turns.withdraw(urgent)
        thread.join(_TIMEOUT_S)
        assert len(got) == 1 and got[0] is not None, ending
        got[0].give_back()


def test_announcement_keeps_no_equal_and_no_more_urgent_one_waiting() -> None:
    turns = Turns()
    turns.announce(object(), 5)
    for priority in (5, 6):
        turn = turns.take(priority, lambda: True, object())
        assert turn is not None
        turn.give_back()


def test_one_that_becomes_more_urgent_while_it_waits_is_served_first_and_keeps_nobody_waiting_for_ever() -> None:
    """Its new frame is announced with the new priority, while it asks with the old one."""
    turns, first, second = Turns(), object(), object()
    held = _take(turns)
    order: list[object] = []

    def work(who: object, priority: int) -> None:
        turn = turns.take(priority, lambda: True, who)
        if turn is not None:
            order.append(who)
            turn.give_back()

    threads = [threading.Thread(target=work, args=given, daemon=True) for given in ((first, 0), (second, 10))]
    for count, thread in enumerate(threads, start=1):
        thread.start()
        _wait_for_asking(turns, count)
    turns.announce(first, 20)
    held.give_back()
    for thread in threads:
        thread.join(_TIMEOUT_S)
    assert order == [first, second]
    assert _take(turns)
