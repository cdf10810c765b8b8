# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What the checks of one run share: arguments, settings, trials, and what was learnt before."""

from __future__ import annotations

import argparse
import os
from functools import cached_property
from textwrap import shorten
from typing import Any

from unidrive_perception.doctor.graph_view import GraphView
from unidrive_perception.doctor.trials import Told, Trial, Trials
from unidrive_perception.transport import dds_environment, profile_command

TRIAL_S, QUICK_TRIAL_S, GRAPH_S = 9.0, 4.0, 11.0
"""How long a trial may take; less where the whole examination has less time left."""
LARGER_BUFFER = f'sudo sysctl -w net.core.rmem_max={32 << 20}'
WATCHED_S = 2.0
"""How long the images of live cameras are watched."""


class Examination:
    """One run of the doctor. The trials that need nothing else start at once."""

    def __init__(self, args: argparse.Namespace, trials: Trials) -> None:
        """``args`` are those of the command; ``trials`` bounds the time."""
        self.args, self.trials = args, trials
        self.settings: dict[str, Any] = {}
        """What the parameter file says to our node, less what is wrong."""
        seconds = QUICK_TRIAL_S if args.quick else TRIAL_S
        self._packages = trials.start('package_trial', seconds=seconds)
        self._ros = trials.start('ros_trial_node', seconds=seconds)
        self._graph: Trial | None = None
        self._model: Trial | None = None

    @property
    def packages(self) -> Told:
        """Python packages: a name to {version} or {error}."""
        return self._packages.result()

    @property
    def ros(self) -> Told:
        """What ROS says of itself: see ros_trial_node."""
        return self._ros.result()

    @property
    def no_ros(self) -> str:
        """Why there can be no ROS graph, '' where there can."""
        said, problem, late = self.ros
        if 'missing' in said:
            return f'no ROS here: {said["missing"]}'
        if said.get('rmw'):
            return ''
        if late:
            return f'ROS gives no answer here: loading rclpy {problem}'
        return f'ROS does not work here: {said.get("broken", problem)}'

    @property
    def without_ros(self) -> str:
        """The same in a few words, for those that are skipped for it."""
        if self.no_ros and self.ros.late:
            return 'needs ROS, which gives no answer'
        return shorten(self.no_ros, 64, placeholder=' …')

    @property
    def uses_fastdds(self) -> bool:
        """Whether ROS works on Fast DDS."""
        return self.ros.values.get('rmw', '').startswith('rmw_fastrtps')

    def start_graph(self) -> None:
        """Begin to watch the live graph, as the node would; other checks go on meanwhile."""
        reliability = self.settings.get('image_reliability', 'best_effort')
        watched = 0.0 if self.args.quick else WATCHED_S
        self._graph = self.trials.start(
            'graph_trial_node',
            reliability,
            watched,
            *self.args.image_topic,
            seconds=GRAPH_S,
            environment=self.node_environment,
        )

    def start_model(self, images: int) -> None:
        """Begin to load the model, and to predict so many images."""
        width, height = self.args.size or (1280, 720)
        self._model = self.trials.start(
            'model_trial',
            self.args.model or self.settings.get('model_path', ''),
            self.device,
            self.settings.get('threads', 0),
            images,
            width,
            height,
            seconds=10,
        )

    @property
    def device(self) -> str:
        """Where the model is to run."""
        return self.args.device or self.settings.get('device', 'auto')

    @property
    def model(self) -> Told:
        """What the model trial told, which must have been started."""
        return self._model.result()

    @cached_property
    def node_environment(self) -> dict[str, str]:
        """The environment in which our executables run: they choose a Fast DDS profile."""
        return {**os.environ, **dds_environment()}

    @cached_property
    def graph(self) -> tuple[GraphView | None, str]:
        """What was seen in the live graph, or None and the reason."""
        told = self.graph_told
        if told is None:
            return None, self.without_ros
        if 'nodes' in told.values:  # also where it was stopped after that
            return GraphView.from_json(told.values), ''
        return None, told.problem or 'nothing was told'

    @cached_property
    def graph_told(self) -> Told | None:
        """What the trial of the graph told; None where there was none, for want of ROS."""
        if self._graph is None or 'missing' in self.ros.values or 'broken' in self.ros.values:
            return None
        return self._graph.result()

    @property
    def loss_remedy(self) -> str:
        """What helps where images of a camera get lost on their way."""
        if self.uses_fastdds:
            return f'{profile_command()}   # in the shell of the camera, before it starts'
        return f'{LARGER_BUFFER}   # on both hosts'
