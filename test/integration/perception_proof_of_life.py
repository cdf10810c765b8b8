# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""A launch test: perception.launch.py starts the node, results of images come, it ends cleanly.

launch_test test/integration/perception_proof_of_life.py

pytest runs it by test_perception_launch_testing.py, where launch_testing is installed.
"""

import sys
import tempfile
import unittest
from pathlib import Path

import launch_testing
import launch_testing.actions
import launch_testing.asserts
import pytest
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from rclpy.qos import QoSDurabilityPolicy
from sensor_msgs.msg import Image

REPO = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPO), str(REPO / 'test')]

from live_node import PATIENCE, Graph, image_message, number_of, wait_until  # noqa: E402
from tiny_bundle import street, write_tiny_bundle  # noqa: E402

from unidrive_msgs.msg import DetectionArray, LabelTable  # noqa: E402

FOLDER = tempfile.TemporaryDirectory()


@pytest.mark.launch_test
def generate_test_description():
    """Describe what is launched, and when the tests begin: at once."""
    model = write_tiny_bundle(Path(FOLDER.name, 'tiny'))
    arguments = {'model': str(model), 'namespace': 'front', 'image_topic': 'raw'}
    file = REPO / 'launch' / 'perception.launch.py'
    source = PythonLaunchDescriptionSource(str(file))
    perception = IncludeLaunchDescription(source, launch_arguments=arguments.items())
    return LaunchDescription([perception, launch_testing.actions.ReadyToTest()])


class TestProofOfLife(unittest.TestCase):
    def setUp(self):
        self.graph = Graph()

    def tearDown(self):
        self.graph.close()

    def test_results_come(self):
        results = self.graph.listen(DetectionArray, '/front/perception/detections')
        camera = self.graph.camera(Image, '/front/raw')
        wait_until(camera.get_subscription_count, 'the subscription')
        picture = image_message(street(96, 160), 7)
        wait_until(lambda: camera.publish(picture) or results, 'a result')
        self.assertEqual(number_of(results[0]), 7)
        self.assertEqual([d.class_name for d in results[0].detections], ['red', 'blue'])

    def test_labels_wait_for_late_subscribers(self):
        latched = QoSDurabilityPolicy.TRANSIENT_LOCAL
        labels = self.graph.listen(LabelTable, '/front/perception/labels', durability=latched)
        wait_until(lambda: labels, 'the labels')
        self.assertEqual(labels[0].model_name, 'tiny')

    def test_the_node_says_what_it_runs(self, proc_output):
        proc_output.assertWaitFor('model tiny from', timeout=PATIENCE, stream='stderr')


@launch_testing.post_shutdown_test()
class TestEnd(unittest.TestCase):
    def test_everything_ended_cleanly(self, proc_info):
        launch_testing.asserts.assertExitCodes(proc_info)
