# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads YAML that somebody else wrote, in bounded time and memory, and executes nothing of it.

A safe loader still follows aliases that blow nine lines up to a billion nodes, recurses as deep
as the text nests, and takes the last of two values of one key without a word.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from unidrive_perception.errors import UserError, one_line

MAX_BYTES = 4 * 2**20
"""Of a file, and of the characters and nodes that it comes to when its aliases are followed."""
MAX_DEPTH = 50
MAX_SCALAR = 10_000

_FAST = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)  # 15 times faster, where libyaml is there


class YamlError(UserError):
    """A file is missing, no regular file, or not YAML that can be taken; the sentence says why."""


def read_bounded_yaml(path: Path) -> Any:
    """Return what the YAML file holds. Raises YamlError."""
    try:
        if not path.is_file():  # reading a named pipe would wait for ever
            raise YamlError(f'{path}: {"no regular file" if path.exists() else "missing"}')
        with path.open('rb') as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise YamlError(f'{path}: larger than the {MAX_BYTES} bytes that are read')
        text = data.decode()
        _check(text)
        return yaml.load(text, Loader=_Loader)
    except YamlError:
        raise
    except yaml.YAMLError as error:
        raise YamlError(f'{path}: is not valid YAML ({one_line(error)})') from None
    except UnicodeDecodeError as error:
        raise YamlError(f'{path}: cannot be read ({error})') from None
    except OSError as error:
        raise YamlError(f'{path}: cannot be read ({error.strerror})') from None
    except Exception as error:  # dates, numbers and other scalars that the library falls over
        raise YamlError(f'{path}: holds a value that cannot be read ({one_line(error)})') from None


class _Loader(_FAST):
    """A safe loader that finds two values of one key."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        found = set()
        for key, _ in node.value:
            name = key.tag, key.value if isinstance(key, yaml.ScalarNode) else id(key)
            if name in found:
                raise yaml.constructor.ConstructorError(
                    None, None, f'the key {key.value[:60]!r} stands twice', key.start_mark
                )
            found.add(name)
        return super().construct_mapping(node, deep)


def _check(text: str) -> None:
    """Raise YAMLError where the text nests too deep, or is too large with its aliases followed."""
    sizes: dict[str, int] = {}  # of what has an anchor
    parts: list[tuple[str | None, int]] = [(None, 0)]  # that are not closed: anchor and size
    for event in yaml.parse(text, Loader=_FAST):
        if isinstance(event, yaml.CollectionStartEvent):
            parts.append((event.anchor, 1))
            if len(parts) > MAX_DEPTH:
                raise yaml.YAMLError(f'it nests deeper than {MAX_DEPTH}')
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, size = parts.pop()
        elif isinstance(event, yaml.ScalarEvent):
            anchor, size = event.anchor, 1 + len(event.value)
            if size > MAX_SCALAR:
                raise yaml.YAMLError(f'a value has more than {MAX_SCALAR} characters')
        elif isinstance(event, yaml.AliasEvent):
            anchor, size = None, sizes.get(event.anchor)
            if size is None:
                raise yaml.YAMLError(f'the alias {event.anchor[:60]!r} means nothing, or itself')
        else:
            continue
        if anchor is not None:
            sizes[anchor] = size
        parts[-1] = parts[-1][0], parts[-1][1] + size
        if parts[-1][1] > MAX_BYTES:
            raise yaml.YAMLError('it is too large when its aliases are followed')
