# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The one parser of command lines: it says which option or command was probably meant."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that names what is nearest to a misspelt option, choice or command.

    Options are written out: a later one may begin alike.
    """

    def __init__(self, *arguments: Any, allow_abbrev: bool = False, **options: Any) -> None:
        """As argparse has it."""
        super().__init__(*arguments, allow_abbrev=allow_abbrev, **options)

    def parse_args(
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Parse a whole command line; :meth:`refuse` what is unknown in it."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.refuse(unknown)
        return found

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """End the program with exit code 2: print the usage and what is wrong with the words."""
        near = {meant: None for word in unknown for meant in self._options_like(word)}
        suggestion = f' (did you mean {" ".join(near)}?)' if near else ''
        self.error(f'unrecognized arguments: {" ".join(unknown)}{suggestion}')

    def _options_like(self, word: str) -> list[str]:
        """The option nearest to a word that looks like one, if any."""
        if not word.startswith('-'):
            return []
        options = [name for action in self._actions for name in action.option_strings]
        named = {option[2:]: option for option in options if option.startswith('--')}
        name = word.partition('=')[0].lstrip('-').lower().replace('_', '-')
        return [named[near] for near in _nearest(name, named)]

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Raise ArgumentError for a value that is none of the choices; commands are such too."""
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            for meant in _nearest(str(value), map(str, action.choices)):
                error.message += f'; did you mean {meant}?'
            raise


def _nearest(name: str, names: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(name, list(names), n=1)
