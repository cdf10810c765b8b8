# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive COMMAND``: what is misspelt is refused in the words of its command."""

import pytest

from unidrive_perception.errors import UserError
from unidrive_perception.node.playback import make_parser, open_recording
from unidrive_training.cli import main


@pytest.mark.parametrize(
    ('line', 'usage', 'meant'),
    [
        ('process-bag drive out --tracc', 'unidrive process-bag', '--track'),
        ('predict a.jpg out --jsn', 'unidrive predict', '--json'),
        ('frames drive out --min_chnge 0', 'unidrive frames', '--min-change'),
        ('run a.yaml out --proceses 2 name=x', 'unidrive run', '--processes'),
        ('process-bag drive out --storage mcpa', 'unidrive process-bag', 'mcap'),
        ('proces-bag drive out', 'unidrive', 'process-bag'),
    ],
)
def test_what_is_misspelt_is_told_what_it_may_be(capsys, line, usage, meant):
    with pytest.raises(SystemExit) as left:
        main(line.split())
    assert left.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith(f'usage: {usage} [-h] ')
    *_, error = told.splitlines()
    assert error.startswith(f'{usage}: error: ') and f'did you mean {meant}?' in error


@pytest.mark.parametrize('name', ['gone', 'gone.mcap', 'gone.mp4', 'gone.jpg'])
def test_a_missing_input_is_told_of_in_the_same_words(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    commands = (
        ['process-bag', name, 'out'],
        ['predict', name, 'out'],
        ['frames', name, 'out'],
        ['demo', '--input', name],
    )
    sentence = f'there is no bag, video, image or folder {name}'
    for command in commands:
        assert main(command) == 2
        assert capsys.readouterr().err == f'unidrive: error: {sentence}\n', command
    with pytest.raises(UserError) as error:
        open_recording(make_parser().parse_args([name]))
    assert str(error.value) == sentence
    assert not list(tmp_path.iterdir())
