# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""One command as a child process that ends with us, however we end."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import sys
from typing import IO

from unidrive_training.experiment.steps import Step

_ERROR = b'unidrive: error: '  # how the sentence of a command begins
_TAIL = 1 << 16
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def command_line(step: Step, processes: int) -> str:
    """What a user types to do the step alone."""
    command = ['unidrive', *step.arguments]
    if processes > 1 and step.parallel:
        command = ['torchrun', *_launcher(processes), *step.arguments]
    return shlex.join(command)


def _launcher(processes: int) -> list[str]:
    return ['--standalone', '--nproc-per-node', str(processes), '-m', 'unidrive_training.cli']


def run_child(step: Step, processes: int, lock: int) -> tuple[int, str | None]:
    """Do a step; returns the exit status and the command's error sentence, if it said one.

    ``lock``: file descriptor that the child holds open, too. Ctrl-C is passed on once.
    """
    module = ['-m', 'unidrive_training.cli']
    if processes > 1 and step.parallel:
        module = ['-m', 'torch.distributed.run', *_launcher(processes)]
    child = subprocess.Popen(
        [sys.executable, *module, *step.arguments],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=_environment(),
        pass_fds=[lock],
        start_new_session=True,  # Ctrl-C reaches it through us alone
        preexec_fn=_end_with(os.getpid()),
    )
    try:
        return _wait(child)
    except KeyboardInterrupt:
        child.send_signal(signal.SIGINT)
        _wait(child)
        raise
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()


def _wait(child: subprocess.Popen) -> tuple[int, str | None]:
    sentence = _pass_on(child.stderr)
    return child.wait(), sentence


def _pass_on(pipe: IO[bytes]) -> str | None:
    """Show what comes through a pipe to its end, but for an error sentence and what follows
    it (torchrun's report and traceback); that is returned.
    """
    tail = b''
    while chunk := os.read(pipe.fileno(), _TAIL):
        quiet = _ERROR in tail
        tail = (tail if quiet else tail[-_TAIL:]) + chunk
        if not quiet:
            sys.stderr.write(chunk.partition(_ERROR)[0].decode(errors='replace'))
            sys.stderr.flush()
    before, found, after = tail.partition(_ERROR)
    if before and not before.endswith(b'\n'):  # a progress bar that was cut off
        sys.stderr.write('\n')
    return after.decode(errors='replace').splitlines()[0] if found else None


def _environment() -> dict[str, str]:
    """Through the pipe progress bars do not see how wide the terminal is."""
    if not sys.stderr.isatty():
        return dict(os.environ)
    return {'TQDM_NCOLS': str(shutil.get_terminal_size().columns), **os.environ}


def _end_with(parent: int):
    """For the child: the system ends it when its parent is gone, even by ``kill -9`` (Linux)."""

    def prepare() -> None:
        if hasattr(_LIBC, 'prctl'):
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)

    return prepare
