# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""A generated drive: every frame a pure function of the seed and the frame's index."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from unidrive_training.scenes import figures, fixtures
from unidrive_training.scenes.camera import (
    FAR,
    NEAR,
    Pose,
    Projector,
    sample_camera,
    sample_centreline,
)
from unidrive_training.scenes.canvas import (
    BICYCLE,
    DETECTION_OF,
    FIRST_OBJECT,
    MOTORCYCLE,
    PERSON,
    RIDER,
    Canvas,
    lookup_tables,
)
from unidrive_training.scenes.ground import Ground
from unidrive_training.scenes.mesh import Placement, draw_mesh
from unidrive_training.scenes.optics import Optics
from unidrive_training.scenes.roadside import Block, Post, Tree, sample_roadside
from unidrive_training.scenes.sky import Backdrop
from unidrive_training.scenes.street import LENGTH, sample_street
from unidrive_training.scenes.traffic import Actor, Spot, sample_traffic
from unidrive_training.scenes.weather import sample_weather

_LEAST_EXTENT = 8  # px; smaller objects have no box
_LEAST_FIGURE = 6  # px; smaller people are not drawn
_LEAST_VISIBLE = 0.25  # share of an object that must be seen for a box
_BEND = {'city': 0.35, 'suburb': 0.8, 'rural': 1.4, 'highway': 0.9}


@dataclass(frozen=True)
class SceneFrame:
    """One picture and its exact truth.

    ``boxes`` are the extents of what is visible, from the left or top edge of the first pixel to
    the right or bottom edge of the last. ``instances`` numbers each pixel's object: ``i + 1`` for
    ``boxes[i]``, else 0.
    """

    image: np.ndarray  # (H, W, 3) uint8 RGB
    boxes: np.ndarray  # (N, 4) float32 xyxy, px
    class_ids: np.ndarray  # (N,) int64 detection ids
    semantic: np.ndarray  # (H, W) uint8 train ids, 255 on the own bonnet
    drivable: np.ndarray  # (H, W) uint8: 0 direct, 1 alternative, 2 background
    instances: np.ndarray  # (H, W) uint16


class Drive:
    """An endless drive through one street in one weather.

    ``seed`` fixes everything; ``street`` and ``weather`` fix the sort of each (see ``street`` and
    ``weather.KINDS``). Traffic keeps to the right, or to the left in two of five drives.
    """

    def __init__(
        self,
        seed: int,
        image_size: tuple[int, int] = (360, 640),
        fps: float = 10.0,
        street: str | None = None,
        weather: str | None = None,
    ) -> None:
        """Lay out the street and its traffic; ``image_size`` is (height, width)."""
        rng = np.random.default_rng((seed, 0x5CE2E))
        self.seed, self.image_size, self.fps = seed, image_size, fps
        self.camera = sample_camera(rng, image_size)
        self.weather = sample_weather(rng, weather)
        self.street = sample_street(rng, street)
        self.line = sample_centreline(rng, LENGTH, _BEND[self.street.kind])
        self.wardrobe = fixtures.sample_wardrobe(rng, self.street.kind, self.weather)
        side = sample_roadside(rng, self.street, self.wardrobe.facades, self.wardrobe.tree_kinds)
        self.standing = [*side.blocks, *side.trees, *side.posts]
        self.standing_t = np.array([item.t for item in self.standing])
        self.ground = Ground(rng, self.street, side, self.camera, self.weather)
        self.backdrop = Backdrop(rng, self.camera, self.weather, self.street.kind)
        self.traffic = sample_traffic(rng, self.street)
        self.optics = Optics(rng, self.camera, self.weather)
        self.sway = rng.uniform(0, 2 * math.pi, 4)
        self.mirrored = bool(rng.random() < 0.4)

    def frame(self, index: int) -> SceneFrame:
        """Draw frame ``index`` >= 0: the street ``index / fps`` seconds into the drive."""
        seconds = index / self.fps
        pose = self._pose(seconds)
        canvas = Canvas(Projector(self.camera, pose), self.weather)
        self.backdrop.draw(canvas.image, canvas.entity, pose)
        first = self.ground.draw(canvas.image, canvas.entity, pose)
        actors = list(self.traffic.present(seconds))
        self._shadows(canvas, pose, actors, first)
        for _, draw in sorted(self._scene(canvas, pose, actors, seconds), key=lambda d: -d[0]):
            draw()
        image = self.optics.apply(canvas, first, np.random.default_rng((self.seed, index)))
        return _finish(canvas, image, self.mirrored)

    def _pose(self, seconds: float) -> Pose:
        a, b, c, d = self.sway
        moving = min(1.0, self.traffic.ego.speed / 3.0)
        s = self.traffic.ego.s + 0.22 * moving * math.sin(0.35 * seconds + a)
        yaw = moving * (0.012 * math.sin(0.5 * seconds + b) + 0.004 * math.sin(2.1 * seconds + c))
        shake = math.sin(2.6 * seconds + d) + 0.6 * math.sin(7.1 * seconds + a)
        pitch = round(0.0035 * moving * shake * self.camera.focal)
        limit = self.ground.table.MARGIN - 1
        return Pose.on(
            self.line, self.traffic.ego.t(seconds), s, yaw, max(-limit, min(limit, pitch))
        )

    def _scene(self, canvas: Canvas, pose: Pose, actors, seconds: float):
        """(distance, draw) of everything that stands or moves in view."""
        ahead = (self.standing_t - pose.t + 40.0) % LENGTH - 40.0
        for number in np.flatnonzero(ahead < FAR):
            item, z = self.standing[number], float(ahead[number])
            if isinstance(item, Block):
                far = z + item.t1 - item.t0
                if far > NEAR:
                    x = pose.locate(item.s, far)
                    yield (
                        math.hypot(x, far),
                        _call(fixtures.draw_block, canvas, pose, self.wardrobe, item, z),
                    )
            elif isinstance(item, Tree):
                if z > NEAR:
                    yield (
                        math.hypot(pose.locate(item.s, z), z),
                        _call(fixtures.draw_tree, canvas, pose, self.wardrobe, item, z),
                    )
            elif isinstance(item, Post) and z > NEAR:
                yield (
                    math.hypot(pose.locate(item.s, z), z),
                    _call(fixtures.draw_post, canvas, pose, item, z, seconds),
                )
        for actor, spot in actors:
            if -8.0 < spot.z < FAR * 0.8:
                yield from self._actor(canvas, pose, actor, spot)

    def _actor(self, canvas: Canvas, pose: Pose, actor: Actor, spot: Spot):
        x, yaw = pose.locate(spot.s, spot.z), spot.yaw + pose.heading(spot.z)
        if actor.vehicle is not None:
            entity = canvas.new_object(actor.semantic)
            for mesh, offset in actor.vehicle.pieces:
                px, pz = x + offset * math.sin(yaw), spot.z + offset * math.cos(yaw)
                place = Placement(px, pz, yaw, spot.braking)
                yield math.hypot(px, pz), _call(draw_mesh, canvas, mesh, place, entity)
        elif spot.z > 1.5 and self.camera.focal * 1.7 / spot.z > _LEAST_FIGURE:
            yield math.hypot(x, spot.z), _call(_draw_figure, canvas, actor, spot, x, yaw)

    def _shadows(self, canvas: Canvas, pose: Pose, actors, first: int) -> None:
        """Darken the ground under and beside the actors."""
        mask = np.zeros((canvas.height - first, canvas.width), np.uint8)
        sun = self.weather.sun
        run = -sun[[0, 2]] / max(float(sun[1]), 0.2)
        cast = round(255 * self.weather.shadow * 0.8)
        for actor, spot in actors:
            if not 2.0 < spot.z < 70.0:
                continue
            x, yaw = pose.locate(spot.s, spot.z), spot.yaw + pose.heading(spot.z)
            foot, height = _footprint(actor, x, spot.z, yaw)
            if cast > 30:
                points = np.concatenate([foot, foot + run * height * 0.85])
                _darken(canvas, mask, points, cast, first)
            _darken(canvas, mask, foot, 150, first)
        if mask.any():
            mask = cv2.GaussianBlur(mask, (0, 0), 1.0 * self.camera.scale + 0.3)
            keep = cv2.merge([255 - mask] * 3)
            view = canvas.image[first:]
            cv2.multiply(view, keep, dst=view, scale=1 / 255)


def _call(function, *args):
    return lambda: function(*args)


def _draw_figure(canvas: Canvas, actor: Actor, spot: Spot, x: float, yaw: float) -> None:
    stand = figures.Stand(canvas, x, spot.z, yaw)
    if actor.bike is None:
        limbs = figures.walker(actor.person, spot.phase)
        figures.draw_limbs(stand, limbs, canvas.new_object(PERSON))
        return
    entity = canvas.new_object(MOTORCYCLE if actor.motor else BICYCLE)
    lit = actor.person is not None and canvas.weather.lamps > 0.1
    figures.draw_bike(stand, actor.bike, entity, lit)
    if actor.person is not None:
        phase = 0.0 if math.isnan(spot.phase) else spot.phase
        limbs = (
            figures.motorcyclist(actor.person)
            if actor.motor
            else figures.cyclist(actor.person, phase)
        )
        figures.draw_limbs(stand, limbs, canvas.new_object(RIDER))


def _footprint(actor: Actor, x: float, z: float, yaw: float) -> tuple[np.ndarray, float]:
    """(4, 2) ground corners (x, z) of an actor and its height in metres."""
    if actor.vehicle is not None:
        half_w, half_l, height = (
            actor.vehicle.width / 2,
            actor.vehicle.length / 2,
            actor.vehicle.height,
        )
    elif actor.bike is not None:
        half_w, half_l, height = 0.22, 0.9, 1.7 if actor.person is not None else 0.9
    else:
        half_w, half_l, height = 0.22, 0.18, actor.person.height
    cos, sin = math.cos(yaw), math.sin(yaw)
    across, along = np.array([cos, -sin]) * half_w, np.array([sin, cos]) * half_l
    centre = np.array([x, z])
    corners = (-across - along, across - along, across + along, -across + along)
    return centre + np.array(corners), height


def _darken(canvas: Canvas, mask: np.ndarray, points: np.ndarray, value: int, first: int) -> None:
    if points[:, 1].min() < NEAR:
        points = points.copy()
        points[:, 1] = np.maximum(points[:, 1], NEAR)
    xyz = np.stack([points[:, 0], np.zeros(len(points)), points[:, 1]], 1)
    uv = np.clip(np.rint(canvas.projector.points(xyz)) - (0, first), -30000, 30000).astype(
        np.int32
    )
    hull = cv2.convexHull(uv)[:, 0]
    cv2.fillConvexPoly(mask, hull, value)


def _finish(canvas: Canvas, image: np.ndarray, mirrored: bool) -> SceneFrame:
    """Truth of the finished picture."""
    entity = canvas.entity
    if mirrored:
        image, entity = cv2.flip(image, 1), cv2.flip(entity, 1)
    semantic_of, drivable_of = lookup_tables(canvas.semantics)
    boxes, class_ids, kept = [], [], np.zeros(len(semantic_of), np.uint16)
    for number, (box, seen) in _extents(entity, len(canvas.semantics)).items():
        semantic = canvas.semantics[number]
        large = max(box[2] - box[0], box[3] - box[1]) >= _LEAST_EXTENT
        if large and seen >= _LEAST_VISIBLE * canvas.painted[number]:
            boxes.append(box)
            class_ids.append(DETECTION_OF[semantic])
            kept[FIRST_OBJECT + number] = len(boxes)
    return SceneFrame(
        np.ascontiguousarray(image),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(class_ids, np.int64),
        semantic_of.take(entity),
        drivable_of.take(entity),
        kept.take(entity),
    )


def _extents(entity: np.ndarray, count: int) -> dict[int, tuple[tuple[int, int, int, int], int]]:
    """Object number -> ((x0, y0, x1, y1), pixels) of the objects that show."""
    flat = np.flatnonzero(entity >= FIRST_OBJECT)
    if not len(flat):
        return {}
    numbers = entity.ravel()[flat].astype(np.intp) - FIRST_OBJECT
    rows, cols = np.divmod(flat, entity.shape[1])
    order = np.argsort(numbers, kind='stable')
    numbers, rows, cols = numbers[order], rows[order], cols[order]
    starts = np.flatnonzero(np.diff(numbers, prepend=-1))
    sizes = np.diff(starts, append=len(numbers))
    x0, x1 = np.minimum.reduceat(cols, starts), np.maximum.reduceat(cols, starts) + 1
    y0, y1 = np.minimum.reduceat(rows, starts), np.maximum.reduceat(rows, starts) + 1
    return {
        int(number): ((int(a), int(b), int(c), int(d)), int(size))
        for number, a, b, c, d, size in zip(numbers[starts], x0, y0, x1, y1, sizes, strict=True)
    }
