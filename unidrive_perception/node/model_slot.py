# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The model in use, and another one that is loaded aside to take its place. No ROS here."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from unidrive_perception.bundle import Bundle, default_bundle
from unidrive_perception.errors import Ended, UserError
from unidrive_perception.node.memory import give_back_memory
from unidrive_perception.predictor import Predictor

LOADING_THREAD = 'model loading'
PATIENCE_S = 0.05
"""How long a wait for a model lasts before it looks whether it is still wanted."""


@dataclass(frozen=True)
class Change:
    """How a swap ended: the ``sentence`` for the log, and whether another model is in use now."""

    sentence: str
    succeeded: bool


class ModelSlot:
    """Holds the ``model`` (None: nothing loaded) and the ``path`` that was given for it."""

    def __init__(self, patience: Callable[[], AbstractContextManager] = nullcontext) -> None:
        """Begin without a model; each is loaded within a ``patience()``."""
        self._patience = patience
        self.model: Predictor | None = None
        self.path = ''
        self._loading: _Loading | None = None
        self._replaced: Callable[[], Predictor | None] | None = None
        self._forgotten: list[_Loading] = []

    @property
    def loading(self) -> str:
        """The folder of the model that is being loaded aside; empty for none."""
        return self._loading.path if self._loading else ''

    def load(self, path: str, device: str, threads: int, ended: threading.Event) -> str:
        """Load a model and run it until it is warm; returns a sentence for the log.

        Raises UserError; :class:`Ended`, which is one, when ``ended`` is set meanwhile.
        """
        loading = _Loading(self._patience, _bundle(path), device, threads)
        while not loading.wait(PATIENCE_S):
            if ended.is_set():
                raise Ended(f'ended while {loading.path} was being loaded')
        self.model, self.path = loading.result(), path
        return loading.sentence

    def begin_swap(self, path: str, device: str, threads: int) -> None:
        """Check another model and begin to load it; :meth:`finish_swap` tells how that went.

        Does nothing for the model in use, and only checks while there is none. Raises UserError
        for one that cannot be, as far as can be seen without reading its program: that takes
        seconds where it is large.
        """
        if self._loading:
            raise UserError(f'{self._loading.path} is being loaded: try again when it is done')
        bundle = _bundle(path)
        if self.model is None:
            return
        in_use = self.model.bundle
        if (bundle.folder, bundle.manifest) != (in_use.folder, in_use.manifest):
            self._loading = _Loading(self._patience, bundle, device, threads, path)

    def finish_swap(self) -> Change | None:
        """Take the model that was loaded aside into use, once it is there; else None."""
        self._give_back_what_ended()
        if not self._loading or not self._loading.wait(0):
            return None
        loading, self._loading = self._loading, None
        try:
            model = loading.result()
        except Exception as error:
            return Change(f'{error}; {self.model.bundle.folder} stays in use', False)
        self._replaced = weakref.ref(self.model)
        self.model, self.path = model, loading.given
        return Change(loading.sentence, True)

    def release(self) -> None:
        """Free the model; one that is being loaded is forgotten when it comes."""
        self._forgotten += [self._loading] if self._loading else []
        self.model = self._loading = self._replaced = None
        give_back_memory()

    def _give_back_what_ended(self) -> None:
        """The memory of a model that was replaced, or that nobody wants any more."""
        if self._replaced and not self._replaced():  # the last batch with it is done
            self._replaced = None
            give_back_memory()
        if any(loading.wait(0) for loading in self._forgotten):
            self._forgotten = [loading for loading in self._forgotten if not loading.wait(0)]
            give_back_memory()


def _bundle(path: str) -> Bundle:
    """Read a bundle, except for its program; an empty path is the default one's."""
    return Bundle.read(Path(path) if path else default_bundle())


class _Loading:
    """A model on its way, in a thread of its own."""

    def __init__(
        self,
        patience: Callable[[], AbstractContextManager],
        bundle: Bundle,
        device: str,
        threads: int,
        given: str = '',
    ) -> None:
        self._patience = patience
        self.path, self.given = str(bundle.folder), given
        self._bundle, self._device, self._threads = bundle, device, threads
        self._model: Predictor | None = None
        self._error: Exception | None = None
        self._seconds = 0.0
        self._thread = threading.Thread(target=self._run, name=LOADING_THREAD, daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait for its end; whether it has come."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def result(self) -> Predictor:
        """The model, once it is there; raises what went wrong."""
        if self._error:
            raise self._error
        return self._model

    @property
    def sentence(self) -> str:
        """What was loaded, for the log."""
        manifest = self._model.bundle.manifest
        return (
            f'model {manifest.name} from {self.path}: {", ".join(self._model.labels)}; '
            f'input {manifest.input.width}×{manifest.input.height}; on {self._model.device}, '
            f'warm after {self._seconds:.2f} s'
        )

    def _run(self) -> None:
        try:
            start = time.perf_counter()
            with self._patience():
                self._bundle.check_program()
                model = Predictor(self._bundle, self._device, self._threads)
                model.warm_up()
            self._seconds = time.perf_counter() - start
            give_back_memory()  # what loading alone took
            self._model = model
        except Exception as error:  # told by result(), in the thread that asks
            self._error = error
