# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Boxes with identities: generated streets without their pictures, and a network that errs.

The streets, traffic and cameras are those of ``unidrive generate-scenes``; each object's box is
that of its corners, and it counts while other objects leave a quarter of it to be seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from unidrive_perception.predictor import Prediction
from unidrive_training.scenes.camera import FAR, Pose, Projector
from unidrive_training.scenes.canvas import (
    BICYCLE,
    DETECTION_OF,
    LIGHT,
    MOTORCYCLE,
    PERSON,
    RIDER,
    SIGN,
)
from unidrive_training.scenes.render import Drive
from unidrive_training.scenes.street import LENGTH
from unidrive_training.scenes.traffic import Actor

SIZE = (360, 640)
LEAST_SIDE, LEAST_SEEN = 8, 0.25
LOOKALIKES = np.array([1, 0, 3, 2, 3, 4, 7, 6, 9, 8])  # class id -> what it is mistaken for


@dataclass(frozen=True)
class Truth:
    """What is to be seen in one image: boxes (N, 4), ids, class ids, seen share: (N,)."""

    seconds: float
    boxes: np.ndarray
    ids: np.ndarray
    class_ids: np.ndarray
    seen: np.ndarray


def street(seed: int, seconds: float, fps: float) -> Iterator[Truth]:
    """Drive through the street ``seed``; its cars, people and signs keep their ids."""
    drive = Drive(seed, SIZE, fps)
    sway = np.random.default_rng((seed, 1)).uniform(0, 6, 3)
    ego = drive.traffic.ego
    for i in range(round(seconds * fps)):
        t = 2 + i / fps
        moving = min(1.0, ego.speed / 3)
        yaw = moving * 0.015 * np.sin(0.5 * t + sway[0])
        shake = np.sin(2.6 * t + sway[1]) + 0.6 * np.sin(7.1 * t + sway[2])
        pitch = round(0.0035 * moving * shake * drive.camera.focal)
        pose = Pose.on(drive.line, ego.t(t), ego.s, yaw, pitch)
        yield _visible(i / fps, Projector(drive.camera, pose), [*_objects(drive, pose, t)])


def _objects(drive: Drive, pose: Pose, seconds: float) -> Iterator[tuple]:
    """(id, semantic class, (x, y, z) of the middle, half (x, y, z)) in metres of the camera."""
    for number, actor in enumerate(drive.traffic.actors):
        spot = actor.course.spot(drive.traffic.ego, seconds)
        if spot is None or not 2.0 < spot.z < FAR * 0.8:
            continue
        x, turn = pose.locate(spot.s, spot.z), spot.yaw + pose.heading(spot.z)
        cos, sin = abs(np.cos(turn)), abs(np.sin(turn))
        for k, (semantic, low, high, width, length) in enumerate(_parts(actor)):
            half = (
                *((width * cos + length * sin) / 2, (high - low) / 2),
                (width * sin + length * cos) / 2,
            )
            yield 2 * number + k, semantic, (x, (low + high) / 2, spot.z), half
    first = 2 * len(drive.traffic.actors)
    posts = (item for item in drive.standing if hasattr(item, 'heads'))
    heads = ((post, head) for post in posts for head in post.heads)
    for number, (post, head) in enumerate(heads):
        z = (post.t - pose.t + 40.0) % LENGTH - 40.0
        if 2.0 < z < FAR:
            light = head.kind.startswith('signal')
            x, half = pose.locate(post.s, z) + head.right, head.size / 2
            size = (half / 2 if light else half, half, 0.1)
            yield first + number, LIGHT if light else SIGN, (x, head.up, z), size


def _parts(actor: Actor) -> Iterator[tuple[int, float, float, float, float]]:
    """(semantic class, lowest, highest, width, length), metres: a rider is one of two."""
    if actor.vehicle is not None:
        vehicle = actor.vehicle
        yield actor.semantic, 0.0, vehicle.height, vehicle.width, vehicle.length
    elif actor.bike is None:
        yield PERSON, 0.0, actor.person.height, 0.5, 0.4
    else:
        yield MOTORCYCLE if actor.motor else BICYCLE, 0.0, 1.05, 0.55, 1.75
        if actor.person is not None:
            yield RIDER, 0.35, 1.75, 0.5, 0.6


def _visible(seconds: float, projector: Projector, objects: list[tuple]) -> Truth:
    """Project and paint from far to near, so that each object knows how much of it is seen."""
    objects.sort(key=lambda o: -o[2][2])
    painted = np.zeros(SIZE, np.int16)
    boxes = np.zeros((len(objects), 4))
    for number, (_, _, middle, half) in enumerate(objects):
        signs = np.array(np.meshgrid(*[(-1, 1)] * 3)).reshape(3, 8).T
        corners = np.array(middle) + signs * half
        corners[:, 2] = np.maximum(corners[:, 2], 0.5)
        uv = projector.points(corners)
        low, high = uv.min(0), uv.max(0)
        boxes[number] = np.clip([*low, *high], 0, [*SIZE[::-1]] * 2)
        x0, y0, x1, y1 = np.rint(boxes[number]).astype(int)
        cv2.rectangle(painted, (x0, y0), (x1 - 1, y1 - 1), number + 1, -1)
    pixels = np.bincount(painted.ravel(), minlength=len(objects) + 1)[1:]
    sides = boxes[:, 2:] - boxes[:, :2]
    seen = pixels / np.maximum(sides.prod(1), 1)
    kept = (sides.max(1, initial=0) >= LEAST_SIDE) & (sides.min(1, initial=9) > 1)
    kept &= seen >= LEAST_SEEN
    ids = np.array([o[0] for o in objects], np.int64)
    class_ids = np.array([DETECTION_OF[o[1]] for o in objects], np.int64)
    return Truth(seconds, boxes[kept], ids[kept], class_ids[kept], np.minimum(seen[kept], 1))


@dataclass(frozen=True)
class Network:
    """How well objects are found. Defaults: about as the default bundle finds them."""

    score: float = 0.47  # of a large object in full view
    small: float = 0.11  # less at 20 px
    slow: float = 0.07  # standard deviation of the score from object to object and over seconds
    fast: float = 0.05  # from image to image
    shift: float = 0.09  # of a box's centre, in its scales; half of it lasts
    mistaken: float = 0.05  # share of images with the wrong class
    twice: float = 0.2  # share of objects given twice
    false: float = 10.0  # boxes an image where there is nothing, most of them weak

    def detect(self, truths: list[Truth], seed: int) -> list[Prediction]:
        """Find the objects of one drive."""
        rng = np.random.default_rng((seed, 2))
        moods: dict[int, np.ndarray] = {}  # id -> slow errors: of the score, of the box
        return [self._detect(truth, rng, moods) for truth in truths]

    def _detect(self, truth: Truth, rng, moods: dict[int, np.ndarray]) -> Prediction:
        count = len(truth.ids)
        for i in truth.ids.tolist():
            old = moods.get(i, rng.normal(0, 1, 5))
            moods[i] = 0.95 * old + 0.31 * rng.normal(0, 1, 5)
        mood = np.array([moods[i] for i in truth.ids.tolist()]).reshape(-1, 5)
        scale = (truth.boxes[:, 2:] - truth.boxes[:, :2]).mean(1)
        scores = self.score - self.small * 20 / np.maximum(scale, 5) - 0.3 * (1 - truth.seen)
        scores += self.slow * mood[:, 0] + self.fast * rng.normal(0, 1, count)
        error = (mood[:, 1:] + rng.normal(0, 1, (count, 4))) / 1.41
        boxes = truth.boxes + self.shift * 1.41 * scale[:, None] * error
        wrong = rng.random(count) < self.mistaken
        class_ids = np.where(wrong, LOOKALIKES[truth.class_ids], truth.class_ids)

        again = np.flatnonzero(rng.random(count) < self.twice)
        copies = boxes[again] + 0.07 * scale[again, None] * rng.normal(0, 1, (len(again), 4))
        false = rng.poisson(self.false)
        low = rng.uniform(0, 1, (false, 2)) * (SIZE[1] - 60, SIZE[0] - 60)
        nothing = np.concatenate([low, low + rng.uniform(8, 60, (false, 2))], 1)
        return _prediction(
            np.concatenate([boxes, copies, nothing]),
            np.concatenate([scores, scores[again] - 0.04, rng.exponential(0.06, false) + 0.15]),
            np.concatenate([class_ids, class_ids[again], rng.integers(0, 10, false)]),
        )


def _prediction(boxes: np.ndarray, scores: np.ndarray, class_ids: np.ndarray) -> Prediction:
    boxes = np.clip(boxes, 0, [*SIZE[::-1]] * 2).astype(np.float32)
    inside = ((boxes[:, 2:] - boxes[:, :2]) >= 1).all(1)
    order = np.argsort(-scores, kind='stable')
    order = order[inside[order]]
    scores = np.clip(scores, 0, 1).astype(np.float32)
    return Prediction(SIZE, boxes[order], scores[order], class_ids[order], None, None)
