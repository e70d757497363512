"""One topic: messages in the order of their numbers, each once."""

import random

from livespot.publish.messages import Message
from livespot.publish.order import Hole, Order


def message(seq: int) -> Message:
    return {"seq": seq}


def pushed(order: Order, *numbers: int) -> list[int]:
    told = []
    for number in numbers:
        order.push(message(number))
        told += [one["seq"] for one in order.ready()]
    return told


def settled(order: Order, end: int) -> list[int | Hole]:
    return [one if isinstance(one, Hole) else one["seq"] for one in order.settle(end)]


def test_messages_in_order_are_given_at_once() -> None:
    assert pushed(Order(3), 3, 4, 5) == [3, 4, 5]


def test_a_repeated_message_and_one_before_the_first_are_left_out() -> None:
    assert pushed(Order(3), 3, 3, 2, 4, 3) == [3, 4]


def test_what_comes_after_a_hole_waits_until_it_is_filled() -> None:
    order = Order(0)
    assert pushed(order, 0, 3, 4) == [0]
    assert (order.hole(), order.held) == (Hole(1, 2), 2)
    assert pushed(order, 2, 1) == [1, 2, 3, 4]
    assert (order.hole(), order.held) == (None, 0)


def test_what_is_known_to_exist_and_was_never_heard_is_a_hole() -> None:
    order = Order(0)
    pushed(order, 0)
    order.known = 3
    assert order.hole() == Hole(1, 2)


def test_settling_tells_every_message_that_is_held_and_every_hole() -> None:
    order = Order(0)
    pushed(order, 2, 3, 6)
    assert settled(order, 9) == [Hole(0, 1), 2, 3, Hole(4, 5), 6, Hole(7, 8)]
    assert pushed(order, 8, 9) == [9]


def test_settling_up_to_a_number_leaves_later_holes_open() -> None:
    order = Order(0)
    pushed(order, 2, 6)
    assert settled(order, 2) == [Hole(0, 1), 2]
    assert order.hole() == Hole(3, 5)
    assert settled(order, 5) == [Hole(3, 4)]
    assert order.hole() == Hole(5, 5)


def test_any_order_of_arrival_gives_the_order_of_numbers() -> None:
    draws = random.Random(3)
    for _ in range(50):
        numbers = list(range(20)) * 2
        draws.shuffle(numbers)
        assert pushed(Order(0), *numbers) == list(range(20))
