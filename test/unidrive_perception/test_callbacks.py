# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong in a callback of the node is told of, and goes no further."""

import pytest

from unidrive_perception.errors import Ended, UserError

pytestmark = pytest.mark.ros


class Node:
    """What the decorators need of a node."""

    def __init__(self):
        self.infos, self.errors, self.undone = [], [], []

    def get_logger(self):
        return self

    def info(self, text):
        self.infos.append(text)

    def error(self, text):
        self.errors.append(text)

    def _undo(self, name, state):
        self.undone.append((name, state))


def transition_that(does, on_exception):
    """Run ``on_activate``, which calls ``does``; the node and what came of it."""
    from unidrive_perception.node.callbacks_node import transition

    @transition(on_exception)
    def on_activate(self, state):
        return does()

    node = Node()
    return node, on_activate(node, 'inactive')


def raising(error):
    def do():
        raise error

    return do


def test_a_transition_that_works_is_one_line():
    from rclpy.lifecycle import TransitionCallbackReturn as Result

    node, result = transition_that(lambda: Result.SUCCESS, Result.FAILURE)
    assert (result, node.infos) == (Result.SUCCESS, ['active'])
    assert node.errors == node.undone == []


def test_a_transition_that_does_not_succeed_is_not_said_to():
    from rclpy.lifecycle import TransitionCallbackReturn as Result

    node, result = transition_that(lambda: Result.FAILURE, Result.FAILURE)
    assert (result, node.infos) == (Result.FAILURE, [])
    assert node.errors == ['on_activate ended with FAILURE']


def test_every_transition_has_its_line():
    from unidrive_perception.node.callbacks_node import DONE
    from unidrive_perception.node.lifecycle_node import PerceptionNode

    assert {name for name in vars(PerceptionNode) if name.startswith('on_')} == set(DONE)


def test_the_wish_to_end_is_no_error():
    from rclpy.lifecycle import TransitionCallbackReturn as Result

    node, result = transition_that(raising(Ended('ended while loading')), Result.FAILURE)
    assert (result, node.infos, node.errors) == (Result.FAILURE, ['ended while loading'], [])
    assert node.undone


def test_a_failure_is_told_and_taken_back():
    from rclpy.lifecycle import TransitionCallbackReturn as Result

    node, result = transition_that(raising(UserError('no such thing')), Result.FAILURE)
    assert result == Result.FAILURE
    assert node.errors == ['on_activate failed: no such thing']
    assert node.undone == [('on_activate', 'inactive')]


def test_an_error_is_told_with_its_trace():
    from rclpy.lifecycle import TransitionCallbackReturn as Result

    node, result = transition_that(raising(KeyError('camera')), Result.ERROR)
    assert result == Result.ERROR
    assert 'Traceback' in node.errors[0] and "KeyError: 'camera'" in node.errors[0]
    assert node.undone == []  # error processing does it


def test_a_callback_that_raises_ends_nothing():
    from unidrive_perception.node.callbacks_node import never_ends_the_node

    @never_ends_the_node
    def half(self, number):
        return 10 // number

    node = Node()
    assert half(node, 5) == 2 and node.errors == []
    assert half(node, 0) is None
    assert node.errors[0].startswith('half failed') and 'ZeroDivisionError' in node.errors[0]


def test_one_that_raises_again_and_again_silences_itself_only():
    from unidrive_perception.node.callbacks_node import never_ends_the_node

    @never_ends_the_node
    def receive(self):
        raise KeyError('front')

    @never_ends_the_node
    def look_around(self):
        raise KeyError('left')

    node = Node()
    for _ in range(3):
        receive(node)
        look_around(node)
    assert [text.split()[0] for text in node.errors] == ['receive', 'look_around']


def test_another_error_of_the_same_callback_is_told():
    from unidrive_perception.node.callbacks_node import never_ends_the_node

    @never_ends_the_node
    def receive(self, camera):
        if camera == 'front':
            raise KeyError(camera)
        raise ValueError(camera)

    node = Node()
    for _ in range(3):
        receive(node, 'front')
        receive(node, 'left')
    assert [text.splitlines()[-1] for text in node.errors] == [
        "KeyError: 'front'",
        'ValueError: left',
    ]
