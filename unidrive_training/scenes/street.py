# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The plan of a street: its lanes and edges in cross-section, and where other streets cross it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LENGTH = 360.0  # metres; the world repeats after this


@dataclass(frozen=True)
class Lane:
    """A strip of the road from ``left`` to ``right`` (metres, ``s``)."""

    left: float
    right: float
    ahead: bool  # traffic runs the way the camera looks
    kind: str  # 'drive', 'parking' or 'bike'

    @property
    def middle(self) -> float:
        """``s`` of its middle line."""
        return (self.left + self.right) / 2


@dataclass(frozen=True)
class Street:
    """Everything about a street that does not depend on the light."""

    kind: str  # 'city', 'suburb', 'rural' or 'highway'
    lanes: tuple[Lane, ...]  # from left to right
    ego: int  # index of the own lane
    rails: tuple[int, ...]  # lanes with tram rails
    divider: tuple[float, float] | None  # planted strip between the directions
    sidewalk: float  # width in metres, 0 without
    verge: float  # width of grass beyond the sidewalk
    crossings: tuple[tuple[float, float], ...]  # (t, half width) of streets that cross
    signals: bool  # traffic lights at the crossings
    marking: str  # 'white' or 'yellow' centre line

    @property
    def left(self) -> float:
        """``s`` of the left kerb."""
        return self.lanes[0].left

    @property
    def right(self) -> float:
        """``s`` of the right kerb."""
        return self.lanes[-1].right

    def kerb(self, side: int) -> float:
        """``s`` of the kerb on side -1 (left) or 1 (right)."""
        return self.left if side < 0 else self.right

    def frontage(self, side: int) -> float:
        """``s`` where the private ground begins."""
        return self.kerb(side) + side * (self.sidewalk + self.verge)

    def near_crossing(self, t: float, margin: float) -> bool:
        """Whether ``t`` lies within ``margin`` metres of a crossing street."""
        return any(
            abs((t - c + LENGTH / 2) % LENGTH - LENGTH / 2) < half + margin
            for c, half in self.crossings
        )


_PLANS = {  # same direction, opposite, sidewalk, verge, crossings
    'city': ((1, 4), (0, 3), (1.8, 5.0), (0.0, 0.6), (2, 4)),
    'suburb': ((1, 2), (1, 2), (1.2, 2.4), (0.5, 5.0), (1, 4)),
    'rural': ((1, 2), (1, 2), (0.0, 0.0), (3.0, 9.0), (0, 2)),
    'highway': ((2, 4), (0, 4), (0.0, 0.0), (3.0, 9.0), (0, 1)),
}


def sample_street(rng: np.random.Generator, kind: str | None = None) -> Street:
    """Draw a street; ``kind`` fixes its sort."""
    kinds = list(_PLANS)
    kind = kind if kind is not None else str(rng.choice(kinds, p=[0.56, 0.24, 0.1, 0.1]))
    same, opposite, sidewalk, verge, crossings = _PLANS[kind]
    ahead, back = (int(rng.integers(a, b + 1)) for a, b in (same, opposite))
    if kind in ('city', 'suburb') and ahead + back == 1:
        back = 1
    urban = kind in ('city', 'suburb')
    width = rng.uniform(3.4, 3.8) if kind == 'highway' else rng.uniform(2.8, 3.5)
    divider = None
    if back and (kind == 'highway' or (kind == 'city' and ahead > 1 and rng.random() < 0.25)):
        half = rng.uniform(0.6, 2.5)
        divider = (-half, half)
    lanes = _lanes(rng, width, ahead, back, divider, urban)
    running = [i for i, lane in enumerate(lanes) if lane.ahead and lane.kind == 'drive']
    ego = int(rng.choice(running))
    rails = ()
    if kind == 'city' and rng.random() < 0.62:
        rails = _rails(lanes, ego)
    return Street(
        kind,
        lanes,
        ego,
        rails,
        divider,
        float(rng.uniform(*sidewalk)),
        float(rng.uniform(*verge)),
        _crossings(rng, int(rng.integers(crossings[0], crossings[1] + 1))),
        bool(rng.random() < (0.85 if kind == 'city' else 0.55)),
        'yellow' if rng.random() < 0.45 else 'white',
    )


def _lanes(rng, width, ahead, back, divider, urban) -> tuple[Lane, ...]:
    lanes: list[Lane] = []
    edge = 0.0 if divider is None else divider[0]
    widths = [(width, 'drive')] * back
    if urban and back:
        widths += _extras(rng)
    for lane_width, sort in widths:
        lanes.insert(0, Lane(edge - lane_width, edge, False, sort))
        edge -= lane_width
    edge = 0.0 if divider is None else divider[1]
    widths = [(width, 'drive')] * ahead
    if urban:
        widths += _extras(rng)
        if not back and rng.random() < 0.6:
            lanes.insert(0, Lane(-2.2, 0.0, True, 'parking'))
    for lane_width, sort in widths:
        lanes.append(Lane(edge, edge + lane_width, True, sort))
        edge += lane_width
    return tuple(lanes)


def _extras(rng) -> list[tuple[float, str]]:
    extras = []
    if rng.random() < 0.22:
        extras.append((1.6, 'bike'))
    if rng.random() < 0.55:
        extras.append((2.2, 'parking'))
    return extras


def _rails(lanes, ego) -> tuple[int, ...]:
    """Rails in the innermost lane of each direction, never in the own lane."""
    inner = {}
    for i, lane in enumerate(lanes):
        if lane.kind == 'drive' and (lane.ahead not in inner or not lane.ahead):
            inner[lane.ahead] = i
    return tuple(i for i in inner.values() if i != ego)


def _crossings(rng, count) -> tuple[tuple[float, float], ...]:
    if not count:
        return ()
    space = LENGTH / count
    start = rng.uniform(0, LENGTH)
    return tuple(
        (
            float((start + i * space + rng.uniform(-0.2, 0.2) * space) % LENGTH),
            float(rng.uniform(4, 8)),
        )
        for i in range(count)
    )
