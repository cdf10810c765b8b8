# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What stands beside a street: houses, walls, fences, hedges, trees, posts, signs and lights."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace

import numpy as np

from unidrive_training.scenes.canvas import BUILDING, FENCE, VEGETATION, WALL
from unidrive_training.scenes.street import LENGTH, Street


@dataclass(frozen=True)
class Block:
    """Something long along the street: a house front or a wall, fence or hedge."""

    t0: float
    t1: float
    side: int
    s: float  # of its face
    height: float
    entity: int
    texture: int  # index into the drive's textures of this entity
    depth: float = 0.0  # of a house
    roof: float = 0.0  # height of a gable roof, 0 flat
    joined: bool = False  # its near end leans on a neighbour that hides it

    @property
    def t(self) -> float:
        """Its near end."""
        return self.t0


@dataclass(frozen=True)
class Tree:
    """A tree or bush."""

    t: float
    s: float
    width: float
    height: float
    texture: int


@dataclass(frozen=True)
class Head:
    """A traffic sign or light on a post, at (right, up) metres from its foot."""

    right: float
    up: float
    kind: str  # 'signal', 'signal-back' or a sign of ``fixtures``
    size: float


@dataclass(frozen=True)
class Post:
    """A pole with what it carries."""

    t: float
    s: float
    height: float
    width: float
    arm: float  # metres towards +s at the top, 0 without
    heads: tuple[Head, ...] = ()
    lamp: bool = False
    phase: float = 0.0  # of its traffic lights, seconds


@dataclass
class Roadside:
    """All of it, in no order."""

    blocks: list[Block] = field(default_factory=list)
    trees: list[Tree] = field(default_factory=list)
    posts: list[Post] = field(default_factory=list)


ROUND, WARNING, STOP, YIELD, BLUE, DIAMOND, PLATE, GREEN, NO_ENTRY, ARROW = (
    'round', 'warning', 'stop', 'yield', 'blue', 'diamond', 'plate', 'green', 'no-entry', 'arrow',
)  # fmt: skip
_SIGNS = (ROUND, WARNING, BLUE, DIAMOND, PLATE, NO_ENTRY, ARROW, YIELD, STOP)


def sample_roadside(
    rng: np.random.Generator, street: Street, facades: list, kinds: list[str]
) -> Roadside:
    """Furnish a street with the drive's house fronts and trees; ``kinds``: sort of each tree."""
    out = Roadside()
    for side in (-1, 1):
        _frontage(rng, out, street, side, facades)
        _planting(rng, out, street, side, kinds)
        _posts(rng, out, street, side)
    out.blocks = _join(out.blocks)
    for crossing in street.crossings:
        _junction(rng, out, street, crossing)
    if street.kind == 'highway':
        _gantries(rng, out, street)
    if street.divider is not None:
        _divider(rng, out, street, kinds)
    return out


_FRONTS = {  # house, wall, fence, hedge, open
    'city': (0.80, 0.07, 0.05, 0.03, 0.05),
    'suburb': (0.46, 0.12, 0.17, 0.17, 0.08),
    'rural': (0.08, 0.08, 0.24, 0.26, 0.34),
    'highway': (0.05, 0.26, 0.20, 0.14, 0.35),
}


def _frontage(rng, out: Roadside, street: Street, side: int, facades) -> None:
    front = street.frontage(side)
    t = 0.0
    while t < LENGTH - 3:
        if street.near_crossing(t, 0.0):
            t += 1.0
            continue
        kind = str(rng.choice(['house', 'wall', 'fence', 'hedge', 'open'], p=_FRONTS[street.kind]))
        if kind == 'house':
            index = int(rng.integers(len(facades)))
            end = t + facades[index].length
        else:
            index = int(rng.integers(2))
            end = t + float(rng.uniform(8, 24))
        end = _stop_before_crossing(street, t, min(end, LENGTH))
        if end - t > 2.0:
            _front(rng, out, street, (t, end), side, front, kind, index, facades)
        t = end + (rng.uniform(1.0, 5.0) if rng.random() < 0.25 or street.kind != 'city' else 0.0)


def _join(blocks: list[Block]) -> list[Block]:
    """Mark the houses whose near end nobody can see."""
    houses = [b for b in blocks if b.entity == BUILDING]

    def hides(a: Block, b: Block) -> bool:
        flush = a.side == b.side and abs(a.s - b.s) < 0.1 and abs(a.t1 - b.t0) < 0.1
        return flush and a.height >= b.height and a.depth >= b.depth and not b.roof

    return [replace(b, joined=any(hides(a, b) for a in houses)) for b in blocks]


def _stop_before_crossing(street: Street, t: float, end: float) -> float:
    while end > t and any(street.near_crossing(x, 0.0) for x in np.arange(t, end, 1.0)):
        end -= 1.0
    return end


def _front(rng, out, street, span, side, front, kind, index, facades) -> None:
    t0, t1 = span
    if kind == 'house':
        facade = facades[index]
        gable = street.kind in ('suburb', 'rural')
        setback = (
            rng.uniform(3, 9) if gable else (rng.uniform(0, 2) if rng.random() < 0.2 else 0.0)
        )
        if setback > 2.5 and rng.random() < 0.75:
            low = [(FENCE, 1.1), (WALL, 1.0), (VEGETATION, 1.2)][int(rng.integers(3))]
            _pieces(
                out,
                span,
                side,
                front,
                low[1] * rng.uniform(0.8, 1.5),
                low[0],
                int(rng.integers(2)),
            )
        roof = float(rng.uniform(1.8, 3.5)) if gable else 0.0
        depth = float(rng.uniform(8, 18))
        s = front + side * setback
        out.blocks.append(Block(t0, t1, side, s, facade.height, BUILDING, index, depth, roof))
    elif kind != 'open':
        entity = {'wall': WALL, 'fence': FENCE, 'hedge': VEGETATION}[kind]
        height = {'wall': (1.3, 3.2), 'fence': (1.0, 2.2), 'hedge': (1.0, 2.6)}[kind]
        _pieces(out, span, side, front, float(rng.uniform(*height)), entity, index)
        if street.kind == 'city' and rng.random() < 0.8:  # a house in the yard behind it
            index = int(rng.integers(len(facades)))
            out.blocks.append(
                Block(
                    t0,
                    t1,
                    side,
                    front + side * rng.uniform(5, 14),
                    facades[index].height,
                    BUILDING,
                    index,
                    10.0,
                )
            )


def _pieces(out, span, side, s, height, entity, texture) -> None:
    """Cut a long wall so that each piece sorts right among its neighbours."""
    count = max(1, round((span[1] - span[0]) / 8.0))
    edges = np.linspace(span[0], span[1], count + 1)
    for a, b in itertools.pairwise(edges):
        out.blocks.append(Block(float(a), float(b), side, s, height, entity, texture))


def _planting(rng, out: Roadside, street: Street, side: int, kinds) -> None:
    kerb, front = street.kerb(side), street.frontage(side)
    if street.kind in ('city', 'suburb') and street.sidewalk > 1.6 and rng.random() < 0.55:
        step, sprite = rng.uniform(8, 22), int(rng.integers(len(kinds)))
        for t in np.arange(rng.uniform(0, step), LENGTH, step):
            if rng.random() < 0.8 and not street.near_crossing(t, 4.0):
                _tree(rng, out, t + rng.uniform(-1, 1), kerb + side * 0.9, sprite, kinds, 0.8)
    count = {'city': 9, 'suburb': 40, 'rural': 90, 'highway': 60}[street.kind]
    for t in rng.uniform(0, LENGTH, int(count * rng.uniform(0.4, 1.3))):
        if not street.near_crossing(t, 6.0):
            away = rng.uniform(0.8, 12 if street.kind in ('city', 'suburb') else 22)
            _tree(rng, out, t, front + side * away, int(rng.integers(len(kinds))), kinds, 1.0)


def _tree(rng, out, t, s, sprite, kinds, grow) -> None:
    low, high, slim = {
        'round': (5, 11, 0.8), 'tall': (7, 14, 0.7), 'bush': (0.9, 2.4, 1.15),
        'bare': (5, 9, 0.83), 'palm': (6, 9, 0.7),
    }[kinds[sprite]]  # fmt: skip
    height = float(rng.uniform(low, high) * grow)
    out.trees.append(Tree(float(t % LENGTH), float(s), height * slim, height, sprite))


def _posts(rng, out: Roadside, street: Street, side: int) -> None:
    kerb = street.kerb(side) + side * 0.5
    if street.kind != 'rural' and rng.random() < 0.8:
        step, height = rng.uniform(22, 42), float(rng.uniform(5, 9))
        for t in np.arange(rng.uniform(0, step), LENGTH, step):
            out.posts.append(Post(float(t), kerb, height, 0.15, -side * 1.6, lamp=True))
    if rng.random() < 0.4:  # wooden poles
        for t in np.arange(rng.uniform(0, 35), LENGTH, 35.0):
            out.posts.append(Post(float(t), kerb + side * 0.6, 8.0, 0.24, 0.0))
    count = {'city': 18, 'suburb': 11, 'rural': 9, 'highway': 8}[street.kind]
    for t in rng.uniform(0, LENGTH, int(count * rng.uniform(0.5, 1.3))):
        if not street.near_crossing(t, 1.0):
            out.posts.append(_sign_post(rng, float(t), kerb, side))
    if street.kind == 'city' and rng.random() < 0.5:  # bollards
        start = rng.uniform(0, LENGTH)
        for i in range(int(rng.integers(5, 25))):
            out.posts.append(Post((start + 2.2 * i) % LENGTH, kerb, 0.9, 0.12, 0.0))


def _sign_post(rng, t, s, side) -> Post:
    up, size = float(rng.uniform(2.1, 2.9)), float(rng.uniform(0.55, 0.95))
    first = str(rng.choice(_SIGNS, p=[0.22, 0.14, 0.16, 0.08, 0.16, 0.08, 0.06, 0.05, 0.05]))
    heads = [Head(0.0, up, first, size)]
    if rng.random() < 0.3:
        heads.append(
            Head(0.0, up - size * 1.02, str(rng.choice([PLATE, BLUE, ROUND, ARROW])), size * 0.8)
        )
    return Post(t, s + side * rng.uniform(-0.1, 0.5), up + size * 0.5, 0.08, 0.0, tuple(heads))


def _junction(rng, out: Roadside, street: Street, crossing) -> None:
    at, half = crossing
    far, near = (at + half + 0.8) % LENGTH, (at - half - 1.2) % LENGTH
    right, left = street.right + 0.7, street.left - 0.7
    if not street.signals:
        kind = str(rng.choice([STOP, YIELD, DIAMOND]))
        out.posts.append(Post(near, right, 2.8, 0.08, 0.0, (Head(0.0, 2.4, kind, 0.8),)))
        return
    phase = float(rng.uniform(0, 24))
    size = float(rng.uniform(0.85, 1.15))
    for t, overhead in ((near, rng.random() < 0.4), (far, rng.random() < 0.65)):
        reach = float(min(rng.uniform(3.5, 8.5), right - street.lanes[street.ego].left))
        height = 6.0 if overhead else 3.4
        heads = [Head(-0.3, 2.5, 'signal', size)]
        if overhead:
            heads += [Head(-reach + 0.2, 5.6, 'signal', size)]
            if reach > 5.5:
                heads += [Head(-reach + 3.2, 5.6, 'signal', size)]
            if rng.random() < 0.5:
                heads.append(
                    Head(-reach / 2, 5.75, str(rng.choice([BLUE, PLATE, ARROW, GREEN])), 0.7)
                )
        if rng.random() < 0.4:
            heads.append(Head(0.0, 3.3, str(rng.choice([ROUND, BLUE, NO_ENTRY])), 0.6))
        out.posts.append(
            Post(t, right, height, 0.2, -reach if overhead else 0.0, tuple(heads), phase=phase)
        )
        kind = 'signal' if rng.random() < 0.7 else 'signal-back'
        out.posts.append(Post(t, left, 3.4, 0.18, 0.0, (Head(0.3, 2.5, kind, size),), phase=phase))


def _gantries(rng, out: Roadside, street: Street) -> None:
    for t in rng.uniform(0, LENGTH, 3):
        reach = street.right - street.lanes[street.ego].left + 1
        heads = tuple(
            Head(-reach + 1.8 + 3.6 * i, 6.2, GREEN, float(rng.uniform(1.6, 2.4)))
            for i in range(max(1, int(reach / 3.8)))
        )
        out.posts.append(Post(float(t), street.right + 1.2, 6.4, 0.35, -reach, heads))


def _divider(rng, out: Roadside, street: Street, kinds) -> None:
    choice = rng.random()
    if choice < 0.5:
        entity, height = (WALL, 0.85) if rng.random() < 0.5 else (FENCE, 0.9)
        edges = np.arange(0, LENGTH, 8.0)
        for t in edges:
            if not street.near_crossing(t + 4, 8.0):
                out.blocks.append(Block(t, t + 8.0, -1, 0.0, height, entity, 0))
    else:
        for t in np.arange(0, LENGTH, rng.uniform(7, 16)):
            if not street.near_crossing(t, 6.0):
                _tree(rng, out, t, 0.0, int(rng.integers(len(kinds))), kinds, 0.6)


def facade_plan(rng: np.random.Generator, kind: str) -> tuple[int, int, str]:
    """Floors, bays and style of a house for this kind of street."""
    if kind in ('suburb', 'rural', 'highway'):
        return int(rng.integers(1, 4)), int(rng.integers(3, 6)), 'house'
    style = str(rng.choice(['shop', 'flat', 'office'], p=[0.5, 0.28, 0.22]))
    top = 14 if style == 'office' else 8
    return int(rng.integers(3, top)), int(rng.integers(3, 7)), style
