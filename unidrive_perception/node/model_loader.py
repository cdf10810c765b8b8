# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Loads the model, and another one aside while the first goes on working. No ROS here."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

from unidrive_perception.bundle import Bundle, default_bundle
from unidrive_perception.predictor import Predictor


@dataclass(frozen=True)
class LoadedModel:
    """A model that is warm, and the seconds that it took to get there."""

    predictor: Predictor
    seconds: float

    @property
    def sentence(self) -> str:
        """What was loaded, for the log."""
        bundle, spec = self.predictor.bundle, self.predictor.bundle.manifest.input
        return (
            f'model {bundle.manifest.name} from {bundle.folder}: '
            f'{", ".join(self.predictor.labels)}; input {spec.width}×{spec.height}; '
            f'on {self.predictor.device}, warm after {self.seconds:.2f} s'
        )


def check_bundle(path: str) -> Bundle:
    """Read and check a bundle; an empty path is the default one's. Raises BundleError."""
    return Bundle.load(Path(path) if path else default_bundle())


def load_model(bundle: Bundle, device: str, threads: int) -> LoadedModel:
    """Load the program and run it until it is warm. Raises UserError."""
    start = time.perf_counter()
    predictor = Predictor(bundle, device, threads)
    predictor.warm_up()
    return LoadedModel(predictor, time.perf_counter() - start)


class ModelLoading:
    """A model on its way, in a thread of its own; ask :attr:`is_done` now and then."""

    def __init__(self, bundle: Bundle, device: str, threads: int) -> None:
        """Start to load."""
        self.path = str(bundle.folder)
        self._arguments = bundle, device, threads
        self._model: LoadedModel | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name='model loading', daemon=True)
        self._thread.start()

    @property
    def is_done(self) -> bool:
        """Whether :meth:`result` would not wait."""
        return not self._thread.is_alive()

    def wait(self) -> None:
        """Wait until it is done, well or not."""
        self._thread.join()

    def result(self) -> LoadedModel:
        """Wait for the model; raises what went wrong."""
        self.wait()
        if self._error:
            raise self._error
        return self._model

    def _run(self) -> None:
        try:
            self._model = load_model(*self._arguments)
        except Exception as error:  # told by result(), in the thread that asks
            self._error = error
