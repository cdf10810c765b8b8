# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive COMMAND``: what is misspelt is refused in the words of its command."""

import pytest

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
