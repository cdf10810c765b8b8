# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What command lines may say: what is unknown is refused, and told what was probably meant."""

import functools
import os
import signal
import sys

import pytest

from unidrive_perception import perception_node
from unidrive_perception.command_line import Parser
from unidrive_perception.errors import UserError
from unidrive_perception.executable import init_ros, split_ros_args, start


@pytest.fixture
def parser():
    parser = Parser(prog='see')
    parser.add_argument('input')
    parser.add_argument('--track', action='store_true')
    parser.add_argument('--jobs', type=int)
    parser.add_argument('--score-threshold', type=float)
    parser.add_argument('--storage', choices=['mcap', 'sqlite3'])
    return parser


@pytest.mark.parametrize(
    ('words', 'end'),
    [
        (['--tracc'], 'unrecognized arguments: --tracc (did you mean --track?)'),
        (['--jbs', '4'], 'unrecognized arguments: --jbs 4 (did you mean --jobs?)'),
        (['--trac'], 'unrecognized arguments: --trac (did you mean --track?)'),
        (['--jbs=4'], 'unrecognized arguments: --jbs=4 (did you mean --jobs?)'),
        (['-track'], 'unrecognized arguments: -track (did you mean --track?)'),
        (['--Score_Threshold=1'], '--Score_Threshold=1 (did you mean --score-threshold?)'),
        (['--trak', '--jbos', '2'], '--trak --jbos 2 (did you mean --track --jobs?)'),
        (['--moon'], 'unrecognized arguments: --moon'),
        (['track'], 'unrecognized arguments: track'),
        (['--storage', 'mcp'], 'did you mean mcap?'),
    ],
)
def test_what_is_misspelt_is_told_what_it_may_be(parser, capsys, words, end):
    with pytest.raises(SystemExit) as left:
        parser.parse_args(['drive', *words])
    assert left.value.code == 2
    usage, error = capsys.readouterr().err.split('\nsee: error: ')
    assert usage.startswith('usage: see [-h] [--track]')
    assert error.endswith(f'{end}\n')


def test_what_is_like_nothing_is_told_no_guess(parser, capsys):
    with pytest.raises(SystemExit):
        parser.parse_args(['drive', '--storage', 'tape'])
    error = capsys.readouterr().err
    assert 'sqlite3' in error and 'mean' not in error


def test_what_is_right_is_taken(parser):
    args = parser.parse_args(['drive', '--track', '--storage', 'mcap', '--jobs=3'])
    assert (args.input, args.track, args.storage, args.jobs) == ('drive', True, 'mcap', 3)


@pytest.mark.parametrize(
    ('line', 'own', 'ros'),
    [
        ('a --ros-args -p x:=1 -- b', 'a b', '--ros-args -p x:=1'),
        (
            '--ros-args -p x:=1 -- a --ros-args -r b:=c -- d',
            'a d',
            '--ros-args -p x:=1 --ros-args -r b:=c',
        ),
        ('--ros-args -- --ros-args --', '', '--ros-args --ros-args'),
        ('--ros-args --ros-args -p x:=1', '', '--ros-args --ros-args -p x:=1'),
        ('a -- b --ros-args -p x:=1', 'a -- b', '--ros-args -p x:=1'),
    ],
)
def test_every_block_of_ros_arguments_is_ros_s_own(line, own, ros):
    assert split_ros_args(line.split()) == (own.split(), ros.split())


@pytest.mark.ros
def test_ros_understands_several_blocks():
    import rclpy
    from rclpy.context import Context

    _, ros = split_ros_args(['--ros-args', '-r', '__node:=see', '--', '--ros-args', '-p', 'x:=3'])
    context = Context()
    rclpy.init(args=ros, context=context)
    try:
        node = rclpy.create_node(
            'other', context=context, automatically_declare_parameters_from_overrides=True
        )
        assert (node.get_name(), node.get_parameter('x').value) == ('see', 3)
        node.destroy_node()
    finally:
        context.try_shutdown()


@pytest.mark.ros
@pytest.mark.parametrize(
    'line', ['-p x', '--params-file /nowhere/x.yaml', '--log-level loud', '--no-such-argument']
)
def test_what_ros_refuses_is_told_in_a_sentence(line):
    import rclpy
    from rclpy.context import Context

    init = functools.partial(rclpy.init, context=Context())
    with pytest.raises(UserError) as caught:
        init_ros(init, ['--ros-args', *line.split()])
    assert line.split()[-1] in str(caught.value) and '\n' not in str(caught.value)


@pytest.mark.ros
def test_a_mistake_of_ours_is_not_taken_for_one_of_the_user_s():
    import rclpy
    from rclpy.context import Context

    context = Context()
    init = functools.partial(rclpy.init, context=context)
    with pytest.raises(TypeError):
        init_ros(init, [3])
    init_ros(init, [])
    try:
        with pytest.raises(RuntimeError, match='only be called once'):
            init_ros(init, [])
    finally:
        context.try_shutdown()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Make a module that cannot be imported; returns its name."""

    def make(statement):
        (tmp_path / 'an_executable_of_ours.py').write_text(statement)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(os, 'environ', dict(os.environ))
        monkeypatch.delitem(sys.modules, 'an_executable_of_ours', raising=False)
        return 'an_executable_of_ours'

    return make


@pytest.mark.parametrize(
    'statement', ['import no_such_library', 'raise ImportError("numpy.core failed to import")']
)
def test_what_is_not_installed_is_told_in_a_sentence(module, capsys, statement):
    assert start('node', module(statement), []) == 1
    assert 'cannot import what it needs' in capsys.readouterr().err


@pytest.mark.parametrize(
    'statement',
    ['import unidrive_perception.nothing', 'from unidrive_perception.labels import nothing'],
)
def test_an_import_that_we_have_written_wrong_is_not_the_user_s_fault(module, statement):
    with pytest.raises(ImportError, match='nothing'):
        start('node', module(statement), [])


@pytest.fixture
def started(monkeypatch):
    """The command lines with which the node was started; nothing starts."""
    lines = []
    monkeypatch.setattr(signal, 'signal', lambda number, handler: None)
    monkeypatch.setattr(
        perception_node, 'start', lambda name, module, args: lines.append(args) or 0
    )
    return lines


@pytest.mark.parametrize(
    ('line', 'unknown'),
    [
        ('--bla', '--bla'),
        ('-r image:=/camera/image_raw', '-r'),
        ('image:=/camera/image_raw', 'image:=/camera/image_raw'),
        ('--ros-args -p lazy:=false -- --bla', '--bla'),
        ('--hel', '--hel'),
    ],
)
def test_the_node_refuses_arguments_that_are_not_ros_s(started, capsys, line, unknown):
    assert perception_node.main(line.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"perception_node: error: '{unknown}' is no argument of it: ")
    assert 'perception_node --ros-args -r image:=/camera' in error and error.count('\n') == 1
    assert not started


def test_the_node_takes_what_is_ros_s(started, capsys):
    line = ['--ros-args', '-r', '__node:=x', '--', '--ros-args', '-p', 'lazy:=false']
    for args in ([], line):
        assert perception_node.main(args) == 0
    assert started == [[], line]
    with pytest.raises(SystemExit) as left:
        perception_node.main(['--help'])
    assert left.value.code == 0 and started == [[], line]
    assert '--ros-args' in capsys.readouterr().out
