# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Parts of the model by name: ``@REGISTRY.register('name')`` makes one known to configs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from unidrive_perception.errors import UserError
from unidrive_training.typed import Typed, parse


class Registry:
    """Names → module classes of one kind. A class states its options as a nested ``Config`` (a
    Typed).
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._classes: dict[str, type] = {}

    def register(self, name: str) -> Callable[[type], type]:
        """Class decorator that makes the class buildable as ``{name: NAME, …options}``."""

        def add(cls: type) -> type:
            if name in self._classes:
                raise ValueError(f'{self.kind} {name!r} is registered twice')
            self._classes[name] = cls
            return cls

        return add

    def build(self, spec: dict[str, Any], **context: Any) -> nn.Module:
        """Build the part that ``spec`` names; ``context`` is what its neighbours determine.

        Raises UserError on an unknown name, an unknown option or an option of the wrong type.
        """
        cls = self.of(spec)
        options = dict(spec)
        name = options.pop('name')
        config: Typed = parse(cls.Config, options, where=f'{self.kind} {name!r}')
        try:
            return cls(config, **context)
        except ValueError as error:
            raise UserError(f'{self.kind} {name!r}: {error}') from error

    def of(self, spec: dict[str, Any]) -> type:
        """The class that ``spec`` names; UserError when there is none."""
        name = spec.get('name')
        if name not in self._classes:
            known = ', '.join(sorted(self._classes))
            raise UserError(f'{self.kind}: unknown name {name!r}; known names: {known}')
        return self._classes[name]


BACKBONES = Registry('backbone')
HEADS = Registry('head')
ADAPTERS = Registry('adapter')
LANGUAGE = Registry('language')

# What a head can be for: the ``tasks`` of its class.
DETECTION_TASKS = ('detection',)
SEGMENTATION_TASKS = ('semantic', 'drivable')
