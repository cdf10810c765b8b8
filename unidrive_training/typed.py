# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Typed settings: an unknown key or a wrong type is an error before any work starts."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from unidrive_perception.errors import UserError


class Typed(BaseModel):
    """Base of every settings class: immutable, strict about keys."""

    model_config = ConfigDict(extra='forbid', frozen=True, allow_inf_nan=False)

    @model_validator(mode='before')
    @classmethod
    def _truth_is_no_number(cls, values: Any) -> Any:
        """``yes`` of YAML is not 1."""
        for name, value in values.items() if isinstance(values, dict) else ():
            field = cls.model_fields.get(name)
            if isinstance(value, bool) and field and not {bool, Any} & _kinds(field.annotation):
                raise ValueError(f'{name} wants a number or text, not yes or no')
        return values


def _kinds(annotation: Any) -> set[Any]:
    """An annotation and all that it is made of."""
    return {annotation}.union(*map(_kinds, get_args(annotation)))


T = TypeVar('T', bound=Typed)


def parse(cls: type[T], values: dict[str, Any], where: str) -> T:
    """``values`` as a ``cls``; UserError naming every wrong key below ``where``.

    A null where something must be takes the setting away.
    """
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        errors = error.errors()
        wrong = [e for e in errors if not _is_null(e)]
        given = _without_nulls(values, [e['loc'] for e in errors])
        if not wrong and given != values:
            return parse(cls, given, where)
        problems = [': '.join(filter(None, (_key(e), _message(e)))) for e in wrong or errors]
        raise UserError(f'{where}: ' + '; '.join(problems)) from error


def _is_null(error: Mapping[str, Any]) -> bool:
    """Whether there is a null where something must be; an unknown name is wrong even so."""
    return error['input'] is None and error['type'] != 'extra_forbidden'


def _without_nulls(values: Any, keys: list[tuple[Any, ...]]) -> Any:
    """Without what is null and lies on the way to one of the keys."""
    if not isinstance(values, (dict, list)):
        return values
    items = dict(values.items() if isinstance(values, dict) else enumerate(values))
    kept = {}
    for name, value in items.items():
        below = [key[1:] for key in keys if key[:1] == (name,)]
        if not (below and value is None):
            kept[name] = _without_nulls(value, below)
    return kept if isinstance(values, dict) else list(kept.values())


def _key(error: Mapping[str, Any]) -> str:
    return '.'.join(map(str, error['loc']))


def _message(error: Mapping[str, Any]) -> str:
    if error['type'] == 'missing':
        return 'missing'
    if error['type'] == 'value_error' and isinstance(error['input'], dict):
        return str(error['ctx']['error'])  # the validator of a whole class: names what it means
    got = repr(error['input'])
    got = f'(got {got if len(got) < 80 else got[:77] + "…"})'
    if error['type'] != 'extra_forbidden':
        return f'{error["msg"]} {got}'
    name, names = str(error['loc'][-1]), _names_of_settings(Typed)
    similar = [] if name in names else get_close_matches(name, names, n=1)  # it is one elsewhere
    return f'no such setting {got}' + ''.join(f'; is it {other}?' for other in similar)


def _names_of_settings(cls: type[Typed]) -> set[str]:
    """Of a class and all below it."""
    names = set(cls.model_fields)
    return names.union(*map(_names_of_settings, cls.__subclasses__()))


def flat(values: object, key: str = '') -> dict[str, object]:
    """Values of nested mappings and lists by dotted keys, as overrides name them."""
    if not isinstance(values, (dict, list)) or not values:
        return {key: values}
    items = values.items() if isinstance(values, dict) else enumerate(values)
    nested = (flat(value, f'{key}.{name}' if key else str(name)) for name, value in items)
    return {key: value for part in nested for key, value in part.items()}


def first_change(
    then: Mapping[str, object], now: Mapping[str, object], defaults: Collection[str] = ()
) -> str | None:
    """The first dotted key that differs, in words. One that ``then`` has not, because its
    UniDrive did not know it, was what it is by default.
    """
    for key in (*now, *then):
        old, new = (values.get(key, 'absent') for values in (then, now))
        if old != new and not (key not in then and key in defaults):
            return f'{key} was {old}, is {new}'
    return None


def at_default(settings: Typed) -> set[str]:
    """Dotted keys of what is at its default."""
    every, others = (
        flat(settings.model_dump(mode='json', exclude_defaults=less)) for less in (False, True)
    )
    return every.keys() - others.keys()


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file; UserError when it is missing or not a mapping."""
    try:
        values = yaml.safe_load(Path(path).read_text(encoding='utf-8'))
    except OSError as error:
        raise UserError(f'{path}: {error.strerror}') from error
    except yaml.YAMLError as error:
        raise UserError(f'{path}: not valid YAML ({error})'.replace('\n', ' ')) from error
    if not isinstance(values, dict):
        raise UserError(f'{path}: must hold a mapping of settings, got {type(values).__name__}')
    return _unshared(values)


def _unshared(value: Any) -> Any:
    """What an alias (``*name``) repeats as a copy, so that an override changes one place only."""
    if isinstance(value, dict):
        return {key: _unshared(item) for key, item in value.items()}
    return [_unshared(item) for item in value] if isinstance(value, list) else value


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """The object in a JSON file; UserError, which ends in ``remedy``, when there is none."""
    try:
        values = json.loads(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise UserError(f'{path}: {error.strerror}; {remedy}') from error
    except ValueError as error:
        raise UserError(f'{path} is no JSON ({error}); {remedy}') from error
    if not isinstance(values, dict):
        raise UserError(f'{path}: must hold an object, got {type(values).__name__}; {remedy}')
    return values
