# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What happens to the node during a soak, at random times and in random order."""

from __future__ import annotations

import heapq
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from soaking.graph import NodeServices
from soaking.processes import Crowd, Process
from soaking.sampling import States

from unidrive_perception.node.parameters import TABLE

TOPICS = (
    *('result', 'detections', 'semantic_mask', 'drivable_mask', 'drivable_area', 'drivable_grid'),
    *('semantic_image', 'drivable_image', 'semantic_color', 'drivable_color', 'camera_info'),
    *('overlay', 'overlay/compressed', 'timing'),
)
KILLED = 0.2
"""Share of the cameras and listeners that end by SIGKILL."""

MOST_LISTENERS = 3
FULL_HOUSE = 10
"""Results of each camera: twice as many as DDS keeps of each topic."""

QUICK_EVERY = 4
"""After so many full cycles of the lifecycle comes one that keeps the model."""

FULL_CYCLE = ('deactivate', 'cleanup', 'configure', 'activate')
QUICK_CYCLE = ('deactivate', 'activate')

MAY_BE_REFUSED = 'is being loaded: try again when it is done'
STAYS = 'stays in use'
NOT_TAKEN = 'damaged models that were not taken'
PATIENCE_S = 20.0
PAUSE_S = 0.7
"""Within which the images in work of a node that is paused have ended."""

GIVEN_UP_S = 25.0
"""After which DDS has given up a participant that was killed: 20 s, and some more."""

COUNTS = re.compile(r'(\S+): (\d+) images received: (.*)')


def lifecycle_plan(cycles: int) -> Iterator[Sequence[str]]:
    """The transitions of each cycle: so many full ones, and quick ones among them."""
    for number in range(1, cycles + 1):
        yield FULL_CYCLE
        if number % QUICK_EVERY == 0:
            yield QUICK_CYCLE


class Disturbance:
    """Cameras, listeners, parameters, model and lifecycle in change, by a seed."""

    def __init__(
        self,
        *,
        node: Process,
        services: NodeServices,
        crowd: Crowd,
        models: Sequence[Path],
        damaged: Path,
        cameras: Sequence[str],
        states: States,
        seed: int,
    ) -> None:
        """Take what is to be disturbed; ``states`` notes the memory at each full cycle."""
        self._states = states
        self._node, self._services, self._crowd = node, services, crowd
        self._models, self._damaged, self._cameras = models, damaged, cameras
        self._random = random.Random(seed)
        self._read = 0
        self.done: Counter[str] = Counter()
        self.images: Counter[str] = Counter()
        self.violations: list[str] = []

    def run(self, seconds: float, cycles: int) -> None:
        """Go on for so long, with so many full lifecycle cycles and some quick ones.

        Where the machine is too slow for that, cycles and all else take turns, and it lasts
        longer.
        """
        self._begin()
        plan = list(lifecycle_plan(cycles))
        start = time.monotonic()
        # what: about every how many seconds
        rhythm = {
            self._change_parameters: 2.0,
            self._change_listeners: 6.0,
            self._swap_model: 25.0,
            self._swap_for_a_damaged_model: 90.0,
            self._change_camera: 20.0,
            self._pause: 40.0,
            self._leave_alone: 60.0,
        }
        todo = [(gap * self._random.random(), i) for i, gap in enumerate(rhythm.values())]
        heapq.heapify(todo)
        cycled, turn = 0, True
        while self._node.is_running:
            now = time.monotonic() - start
            if now >= seconds and cycled == len(plan):
                break
            is_due = cycled < len(plan) and now >= (cycled + 0.5) * seconds / len(plan)
            if is_due and turn:
                self._cycle(cycled + 1, plan[cycled])
                cycled, turn = cycled + 1, False
                continue
            turn = True
            if now >= todo[0][0]:
                _, i = heapq.heappop(todo)
                action, gap = list(rhythm.items())[i]
                action()
                later = time.monotonic() - start + gap * self._random.uniform(0.3, 1.7)
                heapq.heappush(todo, (later, i))
            else:
                time.sleep(0.05)

    def rehearse(self, crashes: int) -> None:
        """Let the node load once what it keeps for ever, and free the rest.

        DDS keeps room for as many participants as were ever there together, so ``crashes``
        listeners are killed at once, more than will be given up for dead at a time later on.
        """
        self._begin()
        self._swap_model()
        self._full_house()
        crowd = [self._crowd.listen(TOPICS) for _ in range(crashes)]
        for listener in crowd:
            self._crowd.wait_until_ready(listener)
        for listener in crowd:
            self._crowd.stop_listening(listener, signal.SIGKILL)
        if crowd:
            time.sleep(GIVEN_UP_S)
        self.stop()
        time.sleep(3.0)

    def stop(self) -> None:
        """Send everybody home and free the model."""
        self._services.change_state('deactivate')
        self._count_images()
        self._services.change_state('cleanup')
        self._crowd.go()

    def _begin(self) -> None:
        for label in ('configure', 'activate'):
            self._services.change_state(label)
        for camera in self._cameras:
            self._crowd.film(camera)
        self._full_house()

    def _full_house(self) -> Process:
        """Somebody listens to everything, until DDS has made room for its histories."""
        everything = self._crowd.one_that_hears(TOPICS)
        self._services.hear_timings(self._cameras, FULL_HOUSE)
        return everything

    # actions --------------------------------------------------------------------------------

    def _cycle(self, number: int, labels: Sequence[str]) -> None:
        """Go through the transitions; then every camera must be heard again."""
        for label in labels:
            if label == 'configure':
                self._states.unconfigured()
                self._set(self._defaults())
            if not self._services.change_state(label):
                self.violations.append(f'{label} failed in cycle {number}')
            if label == 'deactivate':
                self._count_images()
            self.done[label] += 1
        try:
            self._compare() if 'configure' in labels else self._hear_all()
        except TimeoutError as error:
            self.violations.append(f'after cycle {number}: {error}')
        else:
            self.done['cycles after which each camera was heard'] += 1

    def _compare(self) -> None:
        """Note the same state each time: all the memory that work takes, but no image in work.

        How many results DDS keeps, 140 MB of them at most, depends on how fast they are
        acknowledged; so a listener to everything is stopped until there is no room for more.
        """
        with self._crowd.calm():
            everything = self._full_house()
            everything.send(signal.SIGSTOP)
            try:
                self._services.hear_timings(self._cameras, FULL_HOUSE)
                self._services.enable(False)
                time.sleep(PAUSE_S)
                self._states.full()
            finally:
                everything.send(signal.SIGCONT)
                self._services.enable(True)
        self._crowd.stop_listening(everything, self._ending())
        self._change_listeners()

    def _hear_all(self) -> None:
        """Hear each camera, with the parameters as they are but that which may make all late."""
        self._set({'max_age': TABLE['max_age'].default})
        self._services.hear_timings(self._cameras, 1)

    def _count_images(self) -> None:
        """Each camera's counters, which the node logs when it stops receiving, must add up."""
        log = self._node.log[self._read :]
        self._read += len(log)
        found = COUNTS.findall(log)
        for topic, received, ends in found:
            counts = {name: int(n) for n, name in re.findall(r'(\d+) ([a-z ]+)', ends)}
            if int(received) != sum(counts.values()) or counts['failed']:
                self.violations.append(f'counters of {topic}: {received} received, {counts}')
            self.images.update({'received': int(received), **counts})
        if len(found) != len(self._cameras):
            self.violations.append(f'counters of {len(found)} cameras at a deactivation')

    def _defaults(self) -> dict[str, Any]:
        """Of all parameters that are changed here."""
        values = {name: TABLE[name].default for name in self._choices()}
        return {**values, 'model_path': str(self._models[0])}

    def _choices(self) -> dict[str, Any]:
        """A value for each parameter that is changed at random."""
        pick = self._random
        return {
            'score_threshold': pick.choice([-1.0, 0.0, round(pick.random(), 2)]),
            'tasks': pick.sample(['detection', 'semantic', 'drivable'], pick.randint(1, 3)),
            'mask_downscale': pick.randint(1, 4),
            'tracking': pick.random() < 0.5,
            'lazy': pick.random() < 0.7,
            'max_rate': pick.choice([0.0, 0.0, 3.0, 8.0]),
            'max_age': pick.choice([0.0, 0.0, 0.3]),
            'batch_wait_ms': pick.choice([0.0, 5.0, 50.0]),
            'overlay_masks': pick.choice(['both', 'semantic', 'drivable', 'none']),
            'overlay_opacity': round(pick.random(), 2),
            'overlay_legend': pick.random() < 0.5,
            'overlay_status': pick.random() < 0.5,
            'polygon_tolerance': pick.choice([0.0, 4.0, 20.0]),
            'grid_rows': pick.randint(1, 40),
        }

    def _change_parameters(self) -> None:
        choices = self._choices()
        self._set({name: choices[name] for name in self._random.sample(list(choices), 3)})
        if refused := self._services.set_parameters({'score_threshold': -0.5}):
            self.done['parameters refused'] += 1
        else:
            self.violations.append(f'a bad value was taken: {refused}')

    def _swap_model(self) -> None:
        self._set({'model_path': str(self._random.choice(self._models))})

    def _swap_for_a_damaged_model(self) -> None:
        """The node must say that it keeps the one that it has."""
        told = self._node.log.count(STAYS)
        if refused := self._services.set_parameters({'model_path': str(self._damaged)}):
            if MAY_BE_REFUSED not in refused:
                self.violations.append(f'a damaged model was refused at once: {refused}')
            return
        end = time.monotonic() + PATIENCE_S
        while self._node.log.count(STAYS) == told:
            if time.monotonic() > end:
                self.violations.append('nothing was said of a damaged model')
                return
            time.sleep(0.1)
        self.done[NOT_TAKEN] += 1

    def _set(self, values: dict[str, Any]) -> None:
        refused = self._services.set_parameters(values)
        if refused and MAY_BE_REFUSED not in refused:
            self.violations.append(f'{values} were refused: {refused}')
        self.done['parameters set'] += len(values)

    def _change_listeners(self) -> None:
        listeners = self._crowd.listeners
        if listeners and self._random.random() < len(listeners) / (MOST_LISTENERS + 1):
            self._crowd.stop_listening(self._random.choice(listeners), self._ending())
        else:
            self._crowd.listen(self._random.sample(TOPICS, self._random.randint(1, 4)))

    def _change_camera(self) -> None:
        camera = self._random.choice(self._cameras)
        self._crowd.stop_filming(camera, self._ending())
        self._crowd.film(camera)

    def _pause(self) -> None:
        for wanted in (False, True):
            self._services.enable(wanted)
            time.sleep(self._random.random())
        self.done['pauses by ~/enable'] += 1

    def _leave_alone(self) -> None:
        """Nobody listens for a while; a lazy node stops to listen to its cameras."""
        for listener in list(self._crowd.listeners):
            self._crowd.stop_listening(listener)
        time.sleep(2.0)
        self._crowd.listen(['detections', 'timing'])
        self.done['times with no listener'] += 1

    def _ending(self) -> int:
        return signal.SIGKILL if self._random.random() < KILLED else signal.SIGTERM
