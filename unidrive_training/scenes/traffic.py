# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Who moves (or stands) in the street, and where each is at a time: pure functions of time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from unidrive_training.scenes.canvas import BUS, CAR, TRAIN, TRUCK
from unidrive_training.scenes.figures import Bike, Look, bicycle, motorcycle, sample_look
from unidrive_training.scenes.street import LENGTH, Lane, Street
from unidrive_training.scenes.vehicles import Vehicle, bus, car, tram, truck

RING = 240.0  # metres; moving traffic comes round again after this


@dataclass(frozen=True)
class Ego:
    """The own car's motion along the road: an even speed with slow swells."""

    start: float  # metres
    speed: float  # m/s, may be 0
    swell: float  # metres
    rhythm: float  # rad/s
    s: float  # metres, the middle of its lane

    def t(self, seconds: float) -> float:
        """Metres along the road."""
        return self.start + self.speed * seconds + self.swell * math.sin(self.rhythm * seconds)

    def arrival(self, t: float, after: float) -> float:
        """Seconds at which it reaches ``t`` (repeating every ``LENGTH``) next after ``after``."""
        ahead = (t - self.t(after)) % LENGTH
        return after + ahead / max(self.speed, 0.3)


@dataclass(frozen=True)
class Spot:
    """Where an actor is: metres ahead, street ``s``, heading relative to the road."""

    z: float
    s: float
    yaw: float
    braking: bool = False
    phase: float = math.nan


@dataclass(frozen=True)
class Course:
    """How an actor moves. ``way``: 'flow' along a lane, 'lead' ahead of the own car, 'parked',
    'cross' over the road.
    """

    way: str
    start: float  # metres: t of its place at time 0; of 'lead': distance ahead
    s: float
    speed: float = 0.0  # m/s along its heading
    yaw: float = 0.0
    swell: float = 0.0
    rhythm: float = 0.5
    delay: float = 0.0  # of 'cross': metres past the own path when the own car arrives

    def spot(self, ego: Ego, seconds: float) -> Spot | None:
        """Its place at a time, or None while it is out of sight."""
        if self.way == 'lead':
            wave = math.sin(self.rhythm * seconds + self.delay)
            braking = math.cos(self.rhythm * seconds + self.delay) < -0.6
            return Spot(self.start + self.swell * wave, self.s, self.yaw, braking)
        if self.way == 'cross':
            return self._crossing(ego, seconds)
        ring = LENGTH if self.way == 'parked' else RING
        t = self.start + math.cos(self.yaw) * self.speed * seconds
        z = (t - ego.t(seconds) + 30.0) % ring - 30.0
        phase = self.rhythm * seconds + self.start if self.speed else math.nan
        return Spot(z, self.s, self.yaw, False, phase)

    def _crossing(self, ego: Ego, seconds: float) -> Spot | None:
        z = (self.start - ego.t(seconds) + 20.0) % LENGTH - 20.0
        direction = 1.0 if self.yaw > 0 else -1.0
        if ego.speed < 0.5:  # we wait: they come again and again
            along = (self.delay + self.speed * seconds + 45.0) % 90.0 - 45.0
        elif z < 0:
            return None
        else:
            left = ego.arrival(self.start, seconds) - seconds
            along = self.delay - self.speed * left
        s = self.s + direction * along
        if abs(s) > 60.0:
            return None
        return Spot(z, s, self.yaw, False, self.rhythm * seconds + self.start)


@dataclass(frozen=True)
class Actor:
    """One object, or a rider with a bike. Exactly one of ``vehicle``, ``bike``, ``person``
    alone, or ``bike`` with ``person``.
    """

    course: Course
    semantic: int | None = None  # of a vehicle
    vehicle: Vehicle | None = None
    bike: Bike | None = None
    person: Look | None = None
    motor: bool = False  # the bike is a motorcycle


@dataclass
class Traffic:
    """All actors of a drive."""

    ego: Ego
    actors: list[Actor] = field(default_factory=list)

    def present(self, seconds: float) -> Iterator[tuple[Actor, Spot]]:
        """Actors and their places at a time."""
        for actor in self.actors:
            spot = actor.course.spot(self.ego, seconds)
            if spot is not None:
                yield actor, spot


def sample_traffic(rng: np.random.Generator, street: Street) -> Traffic:
    """Fill a street with traffic and people."""
    own = street.lanes[street.ego]
    waits = bool(street.crossings) and rng.random() < 0.14
    cruise = {'city': 9.0, 'suburb': 9.5, 'rural': 15.0, 'highway': 23.0}[street.kind]
    speed = 0.0 if waits else cruise * float(rng.uniform(0.45, 1.2))
    start = float(rng.uniform(0, LENGTH))
    if waits:
        at, half = street.crossings[int(rng.integers(len(street.crossings)))]
        start = at - half - float(rng.uniform(5.5, 12))
    swell = 0.0 if waits else speed * float(rng.uniform(0, 1.2))
    ego = Ego(start, speed, swell, float(rng.uniform(0.2, 0.5)), own.middle)
    traffic = Traffic(ego)
    busy = float(rng.uniform(0.35, 1.0))
    for i, lane in enumerate(street.lanes):
        if lane.kind == 'drive':
            _drive_lane(rng, traffic, street, i, busy, waits)
        elif lane.kind == 'parking':
            _park_lane(rng, traffic, street, lane)
    _bikes(rng, traffic, street)
    _people(rng, traffic, street, busy)
    for crossing in street.crossings:
        _cross_traffic(rng, traffic, street, crossing)
    return traffic


_MIX = {  # car, truck, bus, motorcycle
    'city': (0.62, 0.10, 0.12, 0.16),
    'suburb': (0.66, 0.12, 0.09, 0.13),
    'rural': (0.66, 0.18, 0.06, 0.10),
    'highway': (0.64, 0.22, 0.06, 0.08),
}


def _vehicle(rng, course: Course, kind: str, tramway: bool) -> Actor:
    if tramway and rng.random() < 0.62:
        return Actor(course, TRAIN, tram(rng))
    sort = rng.choice(4, p=_MIX[kind])
    if sort == 3:
        return Actor(
            course, bike=motorcycle(rng), person=sample_look(rng, riding=True), motor=True
        )
    semantic, make = ((CAR, car), (TRUCK, truck), (BUS, bus))[sort]
    return Actor(course, semantic, make(rng))


def _length(actor: Actor) -> float:
    return 2.2 if actor.vehicle is None else actor.vehicle.length


def _drive_lane(
    rng, traffic: Traffic, street: Street, index: int, busy: float, waits: bool
) -> None:
    lane, ego = street.lanes[index], traffic.ego
    own, rails = index == street.ego, index in street.rails
    yaw = 0.0 if lane.ahead else math.pi
    if own and waits:  # first in the queue
        return
    pace = max(ego.speed, 4.0) * float(rng.uniform(0.75, 1.3))
    place = rng.uniform(7, 30) if own else rng.uniform(0, 20)
    reach = 130.0 if own else RING - 25.0
    while place < reach:
        s = lane.middle + float(rng.normal(0, 0.12))
        rhythm, delay = float(rng.uniform(0.3, 0.8)), float(rng.uniform(0, 6.3))
        course = Course(
            'lead', 0.0, s, swell=float(rng.uniform(0.5, 2.0)), rhythm=rhythm, delay=delay
        )
        actor = _vehicle(rng, course, street.kind, rails)
        half = _length(actor) / 2
        middle = place + half
        if own:
            moved = Course('lead', middle + 2, s, 0, 0, course.swell, rhythm, delay)
        else:
            moved = Course('flow', ego.start + middle, s, pace, yaw)
        traffic.actors.append(
            Actor(moved, actor.semantic, actor.vehicle, actor.bike, actor.person, actor.motor)
        )
        gap = rng.uniform(7, 18) if rng.random() < 0.4 else rng.uniform(14, 75)
        place = middle + half + gap / busy


def _park_lane(rng, traffic: Traffic, street: Street, lane: Lane) -> None:
    fill, place = rng.uniform(0.25, 0.95), 0.0
    yaw = 0.0 if lane.ahead else math.pi
    while place < LENGTH - 12:
        if rng.random() < fill and not street.near_crossing(place + 3, 8.0):
            course = Course('parked', 0.0, lane.middle)
            sort = rng.random()
            if sort < 0.88:
                actor = Actor(course, CAR, car(rng))
            elif sort < 0.94:
                actor = Actor(course, TRUCK, truck(rng))
            else:
                actor = Actor(course, bike=motorcycle(rng), motor=True)
            half = _length(actor) / 2
            slant = yaw + float(rng.normal(0, 0.03))
            moved = Course(
                'parked', place + half, lane.middle + float(rng.normal(0, 0.08)), 0.0, slant
            )
            traffic.actors.append(
                Actor(moved, actor.semantic, actor.vehicle, actor.bike, None, actor.motor)
            )
            place += 2 * half
        else:
            place += 5.0
        place += rng.uniform(0.7, 1.6)


def _bikes(rng, traffic: Traffic, street: Street) -> None:
    """Cyclists at the kerb or in the bike lane, and bikes left on the pavement."""
    count = int(rng.poisson({'city': 9, 'suburb': 7, 'rural': 3, 'highway': 0}[street.kind]))
    for _ in range(count):
        side = -1 if rng.random() < 0.4 else 1
        s, ahead = _bike_track(rng, street, side)
        course = Course(
            'flow',
            float(rng.uniform(0, RING)),
            s,
            float(rng.uniform(3, 7)),
            0.0 if ahead else math.pi,
            rhythm=float(rng.uniform(5, 8)),
        )
        traffic.actors.append(
            Actor(course, bike=bicycle(rng), person=sample_look(rng, riding=True))
        )
    if street.sidewalk <= 0:
        return
    for _ in range(int(rng.poisson(11))):
        side = rng.choice((-1, 1))
        start, yaw = float(rng.uniform(0, LENGTH)), float(rng.choice((0.0, math.pi / 2, 1.2)))
        for i in range(int(rng.integers(1, 5))):
            s = street.kerb(side) + side * min(float(rng.uniform(0.5, 1.0)), street.sidewalk * 0.6)
            motor = rng.random() < 0.3
            course = Course(
                'parked', (start + 0.9 * i) % LENGTH, s, 0.0, yaw + float(rng.normal(0, 0.06))
            )
            traffic.actors.append(
                Actor(course, bike=(motorcycle if motor else bicycle)(rng), motor=motor)
            )


def _bike_track(rng, street: Street, side: int) -> tuple[float, bool]:
    """``s`` and direction for a cyclist on this side."""
    for lane in street.lanes if side < 0 else street.lanes[::-1]:
        if lane.kind == 'bike':
            return lane.middle, lane.ahead
        if lane.kind == 'drive':
            inset = 0.5 if side > 0 and street.lanes[street.ego] is not lane else 0.35
            edge = lane.left + inset if side < 0 else lane.right - inset
            return float(edge), lane.ahead
    return street.right - 0.4, True


def _people(rng, traffic: Traffic, street: Street, busy: float) -> None:
    mean = {'city': 60, 'suburb': 22, 'rural': 4, 'highway': 0.5}[street.kind]
    for _ in range(int(rng.poisson(mean * busy))):
        side = int(rng.choice((-1, 1)))
        room = max(street.sidewalk, 1.0)
        s = street.kerb(side) + side * float(rng.uniform(0.4, room))
        start, walking = float(rng.uniform(0, LENGTH)), rng.random() < 0.8
        yaw = float(rng.choice((0.0, math.pi)) if walking else rng.uniform(0, 2 * math.pi))
        for i in range(2 if rng.random() < 0.3 else 1):
            if walking:
                pace = float(rng.uniform(0.9, 1.7))
                course = Course(
                    'flow', (start + 0.3 * i) % RING, s + 0.55 * i, pace, yaw, rhythm=pace * 4.2
                )
            else:
                course = Course('parked', (start + 0.3 * i) % LENGTH, s + 0.6 * i, 0.0, yaw)
            traffic.actors.append(Actor(course, person=sample_look(rng)))


def _cross_traffic(rng, traffic: Traffic, street: Street, crossing) -> None:
    at, half = crossing
    for _ in range(int(rng.integers(0, 5))):
        direction = float(rng.choice((-1.0, 1.0)))
        t = at - direction * half * 0.45
        beyond = float(rng.uniform(12, 50) if rng.random() < 0.75 else rng.uniform(-50, -25))
        course = Course(
            'cross',
            t,
            0.0,
            float(rng.uniform(4, 9)),
            direction * math.pi / 2,
            rhythm=6.0,
            delay=beyond,
        )
        if rng.random() < 0.2:
            actor = Actor(course, bike=bicycle(rng), person=sample_look(rng, riding=True))
        else:
            actor = _vehicle(rng, course, 'city', False)
        traffic.actors.append(actor)
    for side in (-1, 1):  # zebra crossings before and behind
        for _ in range(int(rng.poisson(2.4))):
            direction = float(rng.choice((-1.0, 1.0)))
            t = at + side * (half + 2.6) + float(rng.normal(0, 0.5))
            pace = float(rng.uniform(1.0, 1.7))
            beyond = float(rng.uniform(4, 12) if rng.random() < 0.8 else rng.uniform(-14, -8))
            middle = (street.left + street.right) / 2
            course = Course(
                'cross', t, middle, pace, direction * math.pi / 2, rhythm=pace * 4.2, delay=beyond
            )
            traffic.actors.append(Actor(course, person=sample_look(rng)))
