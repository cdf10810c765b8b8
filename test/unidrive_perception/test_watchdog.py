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
dog.begin({limit}, lambda text: print(text, flush=True))

def stand_still(seconds, with_the_lock=False):
    os.write(1, b'standing\\n')
    ctypes.PyDLL(None).usleep(int(seconds * 1e6)) if with_the_lock else time.sleep(seconds)

{what}
dog.close()
print('lived', flush=True)
time.sleep(1.5)
"""


def run(what, limit=1.0):
    program = PROGRAM.format(what=what, limit=limit)
    return subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_process_whose_main_thread_stands_still_ends():
    done = run('stand_still(30)')
    assert done.returncode == 1
    assert 'nothing has been done for 1 s: the process ends' in done.stdout
    assert 'lived' not in done.stdout
    assert 'in stand_still' in done.stderr


def test_a_process_that_does_not_give_back_pythons_lock_ends():
    done = run('stand_still(30, with_the_lock=True)')
    assert (done.returncode, done.stdout) == (1, 'standing\n')
    assert done.stderr.startswith('Timeout (0:00:01)!')
    assert 'in stand_still' in done.stderr


@pytest.mark.parametrize('with_the_lock', [False, True])
def test_patience_has_an_end(with_the_lock):
    what = f'with dog.patience(): pass\nstand_still(30, with_the_lock={with_the_lock})'
    done = run(what)
    assert done.returncode == 1 and 'in stand_still' in done.stderr


def test_patience_of_two():
    what = 'with dog.patience():\n  with dog.patience(): pass\n  stand_still(3)'
    assert run(what).returncode == 0


def test_python_s_lock_is_not_lent_for_ever():
    what = 'watchdog.LONG_S = 1.5\nwith dog.patience(): stand_still(30, with_the_lock=True)'
    done = run(what)
    assert done.returncode == 1 and done.stderr.startswith('Timeout (0:00:01.5')


@pytest.mark.parametrize(
    ('what', 'limit'),
    [
        ('for _ in range(15): dog.come_round(); stand_still(0.2)', 1.0),
        ('with dog.patience(): stand_still(3)', 1.0),
        ('with dog.patience(): stand_still(3, with_the_lock=True)', 1.0),
        ('with dog.patience(): stand_still(3)\nstand_still(0.5)', 1.0),
        ('stand_still(3)', 0.0),
        ('stand_still(3, with_the_lock=True)', 0.0),
        ('dog.close(); stand_still(3)', 1.0),
        ('dog.close(); stand_still(3, with_the_lock=True)', 1.0),
    ],
    ids=[
        'alive',
        'patient',
        'patient, with the lock',
        'alive after patience',
        'off',
        'off, with the lock',
        'closed',
        'closed, with the lock',
    ],
)
def test_it_ends_nothing_else(what, limit):
    done = run(what, limit)
    assert (done.returncode, done.stdout.splitlines()[-1], done.stderr) == (0, 'lived', '')
