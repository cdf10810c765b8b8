# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What was done in an experiment's folder, and whether it still is what the experiment asks for.

OUT/.done/STEP.json is there from a step's beginning on, and has its ``seconds`` when it is done.
OUT may be moved, but for a training or pseudo-labels that are half done: their own files say where
their data are, and they go on there only.
"""

from __future__ import annotations

import enum
import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unidrive_perception.errors import UserError
from unidrive_training.aside import write_json
from unidrive_training.config import FREE
from unidrive_training.experiment.by_hand import check_made_by_hand
from unidrive_training.experiment.config import Experiment
from unidrive_training.experiment.steps import Step, plan
from unidrive_training.typed import at_default, first_change, flat, read_json


class State(enum.Enum):
    """Of a step; the value is what to say about it before it is run."""

    DONE = 'done before'
    BEGUN = 'goes on'
    NEW = 'to do'
    OUTDATED = 'to do again: what it builds on is new'


class Ledger:
    """The marks of an experiment's steps.

    ``states`` are those at the time it is opened. UserError when a step was done (or begun) with
    other settings, or its output is not what its mark says.
    """

    def __init__(self, experiment: Experiment, out: Path, steps: Sequence[Step]) -> None:
        self._out = out
        # What determines a step is said without the place of OUT, which may be moved.
        self._plan = {step.name: step for step in plan(experiment, Path('OUT'))}
        self._marks = {step.name: self._read(step.name) for step in steps}
        self.states: dict[str, State] = {}
        for step in steps:
            self.states[step.name] = self._state(step)

    def begin(self, step: Step) -> None:
        """Mark a step as begun; what it made before it was outdated no longer counts."""
        if self.states[step.name] is not State.BEGUN:
            self._write(step.name, self._new_mark(step))

    def keep(self, step: Step) -> None:
        """Write the mark of a step that was done by hand."""
        if not self._file(step.name).exists():
            self._write(step.name, self._marks[step.name])

    def _new_mark(self, step: Step) -> dict[str, Any]:
        mark = {
            'begun': time.time(),
            'after': self._after(step),
            'definition': _definition(self._plan[step.name]),
        }
        # With the time: a step that is done again makes those after it outdated.
        digest = hashlib.sha256(json.dumps(mark, sort_keys=True).encode()).hexdigest()
        return {'hash': digest, **mark, 'seconds': None}

    def spend(self, step: Step, seconds: float) -> float:
        """Note how long a start of a step took, however it ended; returns what its result took so
        far.
        """
        mark = self._marks[step.name]
        spent = seconds + (mark.get('spent', 0.0) if step.resumes else 0.0)
        self._write(step.name, mark | {'spent': spent})
        return spent

    def finish(self, step: Step, seconds: float) -> None:
        """Mark a step as done, in so many seconds over all of its starts."""
        self._write(step.name, self._marks[step.name] | {'seconds': round(seconds, 1)})

    def seconds(self, name: str) -> float | None:
        """How long a step took; None when it is not done."""
        mark = self._marks[name]
        return mark and mark['seconds']

    def _state(self, step: Step) -> State:
        mark, file = self._marks[step.name], self._file(step.name)
        if mark is None:
            if not step.output.exists():
                return State.NEW
            self._adopt(step)
            return State.DONE
        now = self._plan[step.name]
        then = _without_free(mark['definition'], now)
        if change := first_change(then, _definition(now), _at_default(now)):
            raise UserError(
                f'{self._out}: {step.name} was made with another setting ({change}); give a new '
                f'OUT, or delete {step.output} and {file}: it and what builds on it are then done '
                'again'
            )
        if any(
            mark['after'].get(name) != digest or self.states[name] is not State.DONE
            for name, digest in self._after(step).items()
        ):
            return State.OUTDATED
        if mark['seconds'] is None:
            return State.BEGUN
        if not step.output.exists():
            raise UserError(
                f'{step.output} was made and is gone; put it back, or delete {file} as well: '
                'it and what builds on it are then done again'
            )
        return State.DONE

    def _adopt(self, step: Step) -> None:
        """Mark as done what the step's command made when somebody else started it; UserError for
        what is something else. Other machines do steps so.
        """
        waits = [name for name in step.needs if self.states[name] is not State.DONE]
        try:
            if waits:
                raise UserError(f'{waits[0]}, which it builds on, was not')
            seconds = check_made_by_hand(step)
        except UserError as error:
            raise UserError(
                f'{step.output} was there before this experiment ({error}); give a new OUT, or '
                'move it away'
            ) from error
        self._marks[step.name] = self._new_mark(step) | {'seconds': seconds}

    def _after(self, step: Step) -> dict[str, str | None]:
        marks = {name: self._marks[name] for name in step.needs}
        return {name: mark and mark['hash'] for name, mark in marks.items()}

    def _file(self, name: str) -> Path:
        return self._out / '.done' / f'{name}.json'

    def _read(self, name: str) -> dict[str, Any] | None:
        file = self._file(name)
        remedy = f'put it back, or delete it: what builds on {name} is then removed and done again'
        return read_json(file, remedy) if file.exists() else None

    def _write(self, name: str, mark: dict[str, Any]) -> None:
        self._marks[name] = mark
        self._file(name).parent.mkdir(parents=True, exist_ok=True)
        write_json(self._file(name), mark)


def _definition(step: Step) -> dict[str, Any]:
    """Settings by the keys of the run file, and last the command."""
    definition = {**flat(dict(step.settings)), 'command': ' '.join(step.arguments)}
    return json.loads(json.dumps(definition))  # as it comes back from the file


def _without_free(definition: dict[str, Any], step: Step) -> dict[str, Any]:
    """A definition without settings that a training may be told anew; early versions noted them,
    too.
    """
    free = tuple(f'{_prefix(step)}.{key}.' for key in FREE) if step.config else ()
    return {key: value for key, value in definition.items() if not f'{key}.'.startswith(free)}


def _at_default(step: Step) -> set[str]:
    """Keys of a definition that a training config need not set."""
    return {f'{_prefix(step)}.{key}' for key in at_default(step.config)} if step.config else set()


def _prefix(step: Step) -> str:
    return step.name.replace('/', '.')
