# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The watchdog, in processes of their own as it ends them."""

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, os, time
from unidrive_perception.node import watchdog

watchdog.LOOK_S = 0.1
dog = watchdog.Watchdog()
dog.start({limit}, {log})

def stand_still(seconds, with_the_gil=False):
    os.write(1, b'standing\\n')
    ctypes.PyDLL(None).usleep(int(seconds * 1e6)) if with_the_gil else time.sleep(seconds)

{what}
dog.stop()
print('lived', flush=True)
time.sleep(1.5)
"""


LOG = 'lambda text: print(text, flush=True)'


def run(what, limit=1.0, log=LOG):
    program = PROGRAM.format(what=what, limit=limit, log=log)
    return subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_process_whose_main_thread_stands_still_ends():
    done = run('stand_still(30)')
    assert done.returncode == 1
    assert 'come round for 1 s (watchdog_s: 1): the process ends' in done.stdout
    assert 'lived' not in done.stdout
    assert 'in stand_still' in done.stderr


def test_a_process_that_does_not_release_the_gil_ends():
    done = run('stand_still(30, with_the_gil=True)')
    assert (done.returncode, done.stdout) == (1, 'standing\n')
    assert done.stderr.startswith('Timeout (0:00:01)!')
    assert 'in stand_still' in done.stderr


@pytest.mark.parametrize('with_the_gil', [False, True])
def test_patience_has_an_end(with_the_gil):
    what = f'with dog.patience(): pass\nstand_still(30, with_the_gil={with_the_gil})'
    done = run(what)
    assert done.returncode == 1 and 'in stand_still' in done.stderr


def test_patience_of_two():
    what = 'with dog.patience():\n  with dog.patience(): pass\n  stand_still(3)'
    assert run(what).returncode == 0


@pytest.mark.parametrize('with_the_gil', [False, True])
def test_patience_is_not_endless(with_the_gil):
    what = f'with dog.patience(): stand_still(30, with_the_gil={with_the_gil})'
    done = run(f'watchdog.LONG_S = 1.5\n{what}')
    assert done.returncode == 1 and 'in stand_still' in done.stderr


@pytest.mark.parametrize('log', ['lambda text: time.sleep(60)', 'lambda text: 1 / 0', 'None'])
def test_a_log_that_fails_does_not_keep_it(log):
    done = run('stand_still(30)', log=log)
    assert done.returncode == 1 and 'in stand_still' in done.stderr


def test_the_limit_may_change():
    what = 'dog.start(60.0, print); stand_still(3)\ndog.start(0.0, print); stand_still(3)'
    assert run(what).returncode == 0


def test_it_works_without_standard_error():
    program = PROGRAM.format(what='stand_still(30, with_the_gil=True)', limit=1.0, log='print')
    command = ['sh', '-c', '"$0" -c "$1" 2>&-', sys.executable, program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, 'standing\n')


@pytest.mark.parametrize(
    ('what', 'limit'),
    [
        ('for _ in range(15): dog.feed(); stand_still(0.2)', 1.0),
        ('with dog.patience(): stand_still(3)', 1.0),
        ('with dog.patience(): stand_still(3, with_the_gil=True)', 1.0),
        ('with dog.patience(): stand_still(3)\nstand_still(0.5)', 1.0),
        ('stand_still(3)', 0.0),
        ('stand_still(3, with_the_gil=True)', 0.0),
        ('dog.stop(); stand_still(3)', 1.0),
        ('dog.stop(); stand_still(3, with_the_gil=True)', 1.0),
    ],
    ids=[
        'alive',
        'patient',
        'patient, with the GIL',
        'alive after patience',
        'off',
        'off, with the GIL',
        'closed',
        'closed, with the GIL',
    ],
)
def test_it_ends_nothing_else(what, limit):
    done = run(what, limit)
    assert (done.returncode, done.stdout.splitlines()[-1], done.stderr) == (0, 'lived', '')
