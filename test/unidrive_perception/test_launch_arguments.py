# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The table of the launch files' arguments."""

import pytest

from unidrive_perception.errors import UserError
from unidrive_perception.launching.arguments import MULTI_CAMERA, PERCEPTION, REPLAY, Argument
from unidrive_perception.node import parameters


@pytest.mark.parametrize('argument', (*PERCEPTION, *REPLAY, *MULTI_CAMERA), ids=lambda a: a.name)
def test_every_argument_is_described_and_its_default_fits(argument):
    declaration = argument.declaration
    assert len(declaration['description']) > 10
    if 'default_value' in declaration:
        default = declaration['default_value']
        assert default in declaration.get('choices', [default])
        assert default == '' or argument.value(default) is not None
    else:
        assert argument.name in ('bag', 'cameras')


@pytest.mark.parametrize('argument', PERCEPTION, ids=lambda a: a.name)
def test_parameters_are_those_of_the_node(argument):
    """Its types, too: launch must not hand over a text for a number."""
    if argument.parameter and argument.parameter != 'use_sim_time':
        spec = parameters.TABLE[argument.parameter]
        kind = list if argument.name == 'cameras' else argument.kind
        assert kind is type(spec.default)
        # choices of a list are those of its items
        if argument.choices:
            assert argument.choices == tuple(spec.choices)
        assert 'empty: as in params_file' in argument.declaration['description']


@pytest.mark.parametrize(
    ('kind', 'text', 'value'),
    [
        (bool, 'True', True),
        (bool, 'false', False),
        (float, '1', 1.0),
        (float, '0.25', 0.25),
        (str, '123', '123'),
        (list, 'a, b', ['a', 'b']),
        (list, '1', ['1']),
    ],
)
def test_values_have_the_types_of_the_parameters(kind, text, value):
    found = Argument('x', 'some thing', kind=kind).value(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ('kind', 'text', 'sentence'),
    [
        (float, 'high', 'x:=high is no number'),
        (list, 'a,,b', 'x:=a,,b has an empty name'),
        (list, 'a,b,a', 'x:=a,b,a has a name twice'),
    ],
)
def test_a_wrong_value_is_told_in_a_sentence(kind, text, sentence):
    with pytest.raises(UserError, match=sentence):
        Argument('x', 'some thing', kind=kind).value(text)
