# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The managed ROS 2 node: its transitions, its parameters, and what it says of itself.

The executor's thread receives images and keeps the newest of each camera; one worker thread
decodes, predicts and publishes (:mod:`~.activity_node`). Nothing a camera sends ends the node.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool

from unidrive_perception import overlay
from unidrive_perception.errors import Ended, UserError
from unidrive_perception.image_bridge import find_cv_bridge
from unidrive_perception.message_factories import RosFactory
from unidrive_perception.node.activity_node import Activity
from unidrive_perception.node.callbacks_node import never_ends_the_node, transition
from unidrive_perception.node.diagnostics import OK, STALE, Report
from unidrive_perception.node.frames import WORKER_THREAD
from unidrive_perception.node.model_slot import LOADING_THREAD, ModelSlot
from unidrive_perception.node.parameter_node import NodeParameters
from unidrive_perception.node.publishers_node import ResultPublishers
from unidrive_perception.node.status_node import StatusPublisher, hang_report, own_report

NODE_NAME = 'perception'
LOOK_AROUND_S = 0.1
"""How often the node looks who listens, and whether a new model is ready."""


class PerceptionNode(LifecycleNode):
    """Subscribes to cameras, publishes what the model sees, and says how it is doing."""

    def __init__(
        self,
        ended: threading.Event | None = None,
        patience: Callable[[], AbstractContextManager] = nullcontext,
        **options: Any,
    ) -> None:
        """Declare the parameters; ``options`` are those of ``rclpy.node.Node``.

        Once ``ended`` is set neither a model nor an image in work is waited for any longer. What
        may take long, such as to load a model, is done within a ``patience()``.
        Raises :class:`UserError` when a parameter is wrong or ``unidrive_msgs`` is missing.
        """
        self._make = RosFactory()  # first: without our messages nothing below makes sense
        super().__init__(NODE_NAME, **options)
        self._ended = ended or threading.Event()
        self._patience = patience
        self._slot = ModelSlot(patience)
        self._results: ResultPublishers | None = None
        self._activity: Activity | None = None
        self._is_enabled = True
        self._is_hanging = False
        self._is_going_back = False  # to the path of the model that stays in use
        self._settings = NodeParameters(self, self._on_changing, self._on_changed)
        self._status = StatusPublisher(self)
        self.create_service(SetBool, '~/enable', self._on_enable)
        # steady: a paused simulation must not stop the warnings
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._tell_diagnostics, clock=steady)
        self.create_timer(LOOK_AROUND_S, self._look_around, clock=steady)

    @property
    def autostart(self) -> bool:
        """Whether the node is to configure and activate itself."""
        return self._settings.values['autostart']

    @property
    def watchdog_s(self) -> float:
        """Seconds in which the executor must come round; 0 for no limit."""
        return self._settings.values['watchdog_s']

    def start(self) -> bool:
        """Configure and activate; false when one of them failed, which has been logged."""
        success = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == success and self.trigger_activate() == success

    @property
    def has_threads(self) -> bool:
        """Whether a model is being loaded or used by a thread, which nobody can stop."""
        names = (LOADING_THREAD, WORKER_THREAD)
        return any(thread.name in names for thread in threading.enumerate())

    def close(self) -> None:
        """End the work and the node, in whatever state it is.

        An image in work that does not end is left to its thread, see :attr:`has_threads`.
        """
        self._ended.set()
        self._end_activity()
        self.destroy_node()
        # rclpy leaves that to the end of Python, which does not come while such a thread works
        self._state_machine.destroy_when_not_in_use()

    # transitions ----------------------------------------------------------------------------

    @transition(on_exception=TransitionCallbackReturn.FAILURE)
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model, run it until it is warm, and offer the result topics."""
        settings = self._settings.values
        sentence = self._slot.load(
            settings['model_path'], settings['device'], settings['threads'], self._ended
        )
        # tries it in a process of its own, once: better now than at activation
        with self._patience():
            self.get_logger().info(find_cv_bridge().sentence)
        self._results = ResultPublishers(
            self, self._make, settings['cameras'], settings['result_reliability']
        )
        self.get_logger().info(sentence)
        return TransitionCallbackReturn.SUCCESS

    @transition(on_exception=TransitionCallbackReturn.FAILURE)
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to work on images and, when that went well, publish the label tables."""
        self._activity = Activity(
            self, self._settings, self._results, self._make, self._slot.model
        )
        super().on_activate(state)  # from now on the result topics publish
        self._activity.announce()
        self._activity.listen(self._is_enabled)
        self._tell_what_it_waits_for()
        return TransitionCallbackReturn.SUCCESS

    @transition(on_exception=TransitionCallbackReturn.ERROR)
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe, and finish the images in work; the model stays loaded."""
        if not self._end_activity():
            if self._ended.is_set():
                raise Ended('ended with an image in work')
            raise UserError(
                'the images in work do not end, so the model hangs: start the node again, perhaps '
                'with another device'
            )
        return super().on_deactivate(state)

    @transition(on_exception=TransitionCallbackReturn.ERROR)
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model and withdraw the result topics."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    @transition(on_exception=TransitionCallbackReturn.ERROR)
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free everything, from any state."""
        if not self._end_activity():
            self.get_logger().error('the images in work do not end: a thread is left with them')
        self._release()
        return TransitionCallbackReturn.SUCCESS

    @transition(on_exception=TransitionCallbackReturn.ERROR)
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After a transition broke: back to unconfigured with nothing held."""
        self._end_activity()
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def _undo(self, transition: str, state: LifecycleState) -> None:
        """Take back what a transition that failed half-way has built."""
        self._end_activity()
        super().on_deactivate(state)
        if transition == 'on_configure':
            self._release()

    def _end_activity(self) -> bool:
        """Stop receiving and working; whether the images in work were finished."""
        activity, self._activity = self._activity, None
        return activity is None or activity.close(self._ended)

    def _release(self) -> None:
        if self._results:
            self._results.destroy()
        self._results = None
        overlay.forget()
        self._slot.release()

    # parameters and services ------------------------------------------------------------------

    def _on_changing(self, changes: dict[str, Any]) -> None:
        """Refuse a model that cannot be; else begin to load it aside.

        Without a model, the next configuration loads it.
        """
        path = changes.get('model_path')
        if path is None or self._is_going_back:
            return
        values = self._settings.values
        self._slot.begin_swap(path, values['device'], values['threads'])

    @never_ends_the_node
    def _on_changed(self, changes: dict[str, Any]) -> None:
        if 'score_threshold' in changes and self._activity:
            self._activity.announce()  # the tables name it
        self._listen()

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> Any:
        """Pause or go on, with the model loaded; for those who have no lifecycle manager."""
        if request.data != self._is_enabled:
            self.get_logger().info('enabled' if request.data else 'disabled by ~/enable')
        self._is_enabled = request.data
        self._look_around()
        response.success, response.message = True, self._state()
        return response

    # what is done again and again -------------------------------------------------------------

    @never_ends_the_node
    def _look_around(self) -> None:
        self._listen()
        self._swap_model()

    def _listen(self) -> None:
        if self._activity:
            self._activity.listen(self._is_enabled)

    def _swap_model(self) -> None:
        """Work on with the model that was loaded aside, or stay with the old one."""
        change = self._slot.finish_swap()
        if change is None:
            return
        if change.succeeded:
            self.get_logger().info(change.sentence)
            if self._activity:
                self._activity.change_model(self._slot.model)
        else:
            self.get_logger().error(change.sentence)
            self._is_going_back = True
            self.set_parameters([Parameter('model_path', value=self._slot.path)])
            self._is_going_back = False

    @never_ends_the_node
    def _tell_diagnostics(self) -> None:
        idle = Report(OK, 'idle: nobody listens to its results', {})
        if not self._is_enabled:
            idle = Report(STALE, self._state(), {})
        hung = hang_report(self._slot, self._activity.busy_s() if self._activity else 0.0)
        if hung and not self._is_hanging:
            self.get_logger().error(hung.message)
        self._is_hanging = hung is not None
        reports = self._activity.reports(idle, hung) if self._activity else {}
        is_working = bool(self._activity) and self._is_enabled
        own = own_report(self._slot, is_working, self._state(), hung)
        self._status.publish(own, reports)

    # in words ---------------------------------------------------------------------------------

    def _tell_what_it_waits_for(self) -> None:
        idle = [topic for topic, is_heard in self._activity.topics.items() if not is_heard]
        if idle:
            self.get_logger().info(
                f'ready for {", ".join(idle)}; idle until somebody subscribes to the results '
                '(lazy:=false works on every image)'
            )

    def _state(self) -> str:
        """In one sentence, what the node is doing."""
        if not self._is_enabled:
            return 'the node is disabled by ~/enable'
        if not self._activity:
            return 'the node is not active'
        heard = [topic for topic, is_heard in self._activity.topics.items() if is_heard]
        return f'listening to {", ".join(heard)}' if heard else 'idle: nobody listens'
