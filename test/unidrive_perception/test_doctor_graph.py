# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The doctor's judgement of a live graph, of what the trial would tell of it."""

import dataclasses
import json

import pytest

from unidrive_perception.doctor import camera_checks, graph_checks, stream_checks
from unidrive_perception.doctor.graph_view import (
    RESULTS,
    GraphView,
    Publisher,
    Status,
    Stream,
    is_result,
)
from unidrive_perception.doctor.trials import Told
from unidrive_perception.image_topics import COMPRESSED, IMAGE
from unidrive_perception.node.frame_messages import TOPIC_TYPES

TOPIC = '/front/image_raw'
NOW = 1_700_000_000 * 10**9
SECOND = 10**9
LOSS_REMEDY = 'export SOMETHING'


def publisher(**changes):
    values = {
        'node_namespace': '/front',
        'node_name': 'driver',
        'topic_type': IMAGE,
        'reliability': 'best_effort',
    }
    return Publisher(**{**values, **changes})


def stream(count=21, age_s=0.03, **changes):
    """A second of images at 20 Hz."""
    arrivals = [n * SECOND // 20 for n in range(count)]
    values = {
        'msgtype': IMAGE,
        'encoding': 'rgb8',
        'width': 1280,
        'height': 720,
        'bytes': 1280 * 720 * 3,
        'frame_id': 'front_optical',
        'arrivals': arrivals,
        'stamps': [NOW + a - round(age_s * SECOND) for a in arrivals],
        'now': [NOW + a for a in arrivals],
    }
    return Stream(**{**values, **changes})


def camera(*publishers, settings=None, watched_s=2.0, **view):
    seen = GraphView(cameras={TOPIC: publishers}, watched_s=watched_s, **view)
    return list(camera_checks.camera(TOPIC, publishers, seen, settings or {}, LOSS_REMEDY))


def quick(*publishers, **view):
    """The same in a quick look."""
    return camera(*publishers, watched_s=0.0, is_quick=True, looked_s=1.8, **view)


def judged(**changes):
    return list(stream_checks.judge_stream(TOPIC, '/front/driver', stream(**changes)))


def levels(findings):
    return {finding.check: finding.level for finding in findings}


def test_a_view_survives_the_way_from_the_trial():
    view = GraphView(
        nodes=['/a'], cameras={TOPIC: [publisher(refused=['/perception'])]},
        streams={TOPIC: stream()}, clock=[(1, 2)], watched_s=2.0,
        diagnostics=[Status('/perception: /a', 1, 'slow', {'dropped': '3'})],
    )  # fmt: skip
    again = GraphView.from_json(json.loads(json.dumps(dataclasses.asdict(view))))
    assert again.cameras == view.cameras and again.streams == view.streams
    assert again.watched_s == 2.0 and again.diagnostics == view.diagnostics


def test_a_camera_that_is_right():
    found = camera(publisher(), streams={TOPIC: stream()})
    assert levels(found) == {TOPIC: 'OK', 'images': 'OK', 'stamps': 'OK'}
    images = found[1]
    assert images.figures['rate'] == pytest.approx(20.0)
    assert '20.0 Hz, 1280×720 rgb8, 2.76 MB each' in images.found


def test_publishers_that_do_not_fit():
    refused, *_ = camera(publisher(refused=['/perception']), watched_s=0.0)
    assert refused.level == 'FAIL' and '/perception asks for reliable' in refused.found
    assert 'image_reliability:=best_effort' in refused.remedy
    wrong, *_ = camera(publisher(topic_type='std_msgs/msg/String'))
    assert wrong.level == 'FAIL' and '/front/driver publishes std_msgs/msg/String' in wrong.found
    wrong, *_ = camera(publisher(topic_type='std_msgs/msg/String'), image_topics=['/rear/image'])
    assert wrong.found.endswith('topics with images: /rear/image')
    assert wrong.remedy.endswith('-r image:=/rear/image')
    two, *_ = camera(publisher(), publisher(node_name='bag'), watched_s=0.0)
    assert two.level == 'WARN' and '/front/bag' in two.found


def test_nobody_publishes():
    (nowhere,) = camera()
    assert nowhere.level == 'FAIL' and 'ROS_DOMAIN_ID' in nowhere.found
    others = ['/a', '/rear/image_raw', '/front/image_rect', TOPIC]
    (elsewhere,) = camera(image_topics=others)
    assert elsewhere.level == 'FAIL'
    assert elsewhere.found.endswith('images: /front/image_rect, /rear/image_raw, /a')
    assert elsewhere.remedy.endswith('-r image:=/front/image_rect')


def test_a_quick_look_says_what_it_did_not_see_and_claims_no_more():
    (unseen,) = quick(image_topics=['/rear/image_raw'])
    assert unseen.level == 'WARN'
    assert unseen.found.startswith('not seen in 1.8 s, which is no proof')
    assert 'seen with images: /rear/image_raw' in unseen.found
    assert unseen.remedy.startswith(f'unidrive doctor --image-topic {TOPIC} ')
    view = GraphView(looked_s=1.8, is_quick=True, use_sim_time={'/perception': True})
    assert [f.level for f in graph_checks.simulated_time(view)] == ['WARN']
    assert graph_checks.nodes(view).found == 'none seen in 1.8 s'
    assert 'no proof' in graph_checks.no_cameras(view).found
    assert 'no proof' not in graph_checks.no_cameras(GraphView(watched_s=2.0)).found


def test_a_quick_look_fails_for_what_it_saw():
    (wrong,) = quick(publisher(topic_type='std_msgs/msg/String'))
    assert wrong.level == 'FAIL'


@pytest.mark.parametrize(
    ('told', 'is_quick', 'level'),
    [
        (Told({}, 'took longer than 4 s', late=True), True, 'WARN'),
        (Told({}, 'took longer than 11 s', late=True), False, 'FAIL'),
        (Told({'joined': True}, 'took longer than 11 s', late=True), False, 'WARN'),
        (Told({}, 'crashed with SIGSEGV'), True, 'FAIL'),
    ],
)
def test_a_graph_that_was_not_looked_at(told, is_quick, level):
    finding = graph_checks.not_looked_at(told, is_quick)
    assert finding.level == level and told.problem in finding.found


def test_the_other_transport_is_proposed_first_and_for_the_right_camera():
    topics = ['/front/driver/image_ray', f'{TOPIC}/compressed']
    (nobody,) = camera(image_topics=topics)
    assert nobody.level == 'FAIL' and nobody.remedy.endswith(f'-r image:={TOPIC}/compressed')
    several = {'/perception': ['/front/image', TOPIC]}
    (nobody,) = camera(image_topics=topics, perception=several)
    assert f'-p NAME.image_topic:={TOPIC}/compressed   # NAME' in nobody.remedy
    (again,) = camera(image_topics=topics, settings={'cameras': ['front', 'left']})
    assert again.remedy == nobody.remedy


def test_a_result_of_ours_is_no_camera():
    ours = {'/front/driver': []}
    (result,) = camera(publisher(), perception=ours, watched_s=0.0, image_topics=['/rear/image'])
    assert result.level == 'FAIL' and 'it is a result of /front/driver' in result.found
    assert result.remedy.endswith('-r image:=/rear/image')


def test_every_image_that_the_node_gives_is_known_as_a_result():
    images = {name for name, kind in TOPIC_TYPES.items() if kind in (IMAGE, COMPRESSED)}
    assert images == set(RESULTS)
    assert all(is_result(f'/car/perception/front/{name}') for name in images)
    assert not is_result('/front/image_raw') and not is_result('/my_overlay')


def test_no_image_comes_although_there_is_a_publisher():
    *_, images = camera(publisher())
    assert (images.check, images.level) == ('images', 'FAIL')
    assert images.remedy == LOSS_REMEDY
    assert levels(camera(publisher(), watched_s=0.0)) == {TOPIC: 'OK'}


def test_a_camera_that_ends_meanwhile_is_not_said_to_lose_images():
    *_, images = camera(publisher(), ended=[TOPIC])
    assert (images.check, images.level) == ('images', 'WARN')
    assert 'went away while it was looked at' in images.found


def test_a_camera_that_was_not_listened_to_is_not_said_to_send_nothing():
    *_, images = camera(publisher(), unwatched=[TOPIC])
    assert (images.check, images.level) == ('images', 'WARN')
    assert images.found == f'{TOPIC} was not listened to, as there are so many cameras'
    assert images.remedy == f'unidrive doctor --image-topic {TOPIC}'


@pytest.mark.parametrize(
    ('age_s', 'level', 'word'),
    [
        (0.03, 'OK', 'rising'),
        (0.9, 'OK', 'rising'),
        (7200, 'WARN', '2 hours old'),
        (-0.2, 'WARN', 'in the future'),
    ],
)
def test_the_age_of_stamps(age_s, level, word):
    _, stamps = judged(age_s=age_s)
    assert stamps.level == level and word in stamps.found
    assert stamps.figures['age_s'] == pytest.approx(age_s)


def test_images_that_max_age_would_skip():
    finding = stream_checks.stamps(TOPIC, '/driver', stream(age_s=0.5), max_age=0.2)
    assert finding.level == 'FAIL' and 'max_age' in finding.found


def test_stamps_that_are_zero_or_do_not_rise():
    _, zero = judged(stamps=[0] * 21)
    assert zero.level == 'WARN' and 'all are 0' in zero.found
    repeated = [NOW + n // 2 * 10**8 for n in range(21)]
    _, still = judged(stamps=repeated, now=[stamp + 1 for stamp in repeated])
    assert still.level == 'WARN' and '10 of 20 are not later' in still.found


def test_an_empty_frame_and_an_unknown_encoding():
    assert levels(judged(frame_id='')) == {'images': 'OK', 'stamps': 'OK', 'frame_id': 'WARN'}
    assert levels(judged(encoding='32FC1'))['images'] == 'FAIL'
    assert levels(judged(msgtype=COMPRESSED, encoding='jpeg', width=0))['images'] == 'OK'


def test_simulated_time():
    def times(**view):
        return [f.level for f in graph_checks.simulated_time(GraphView(watched_s=2.0, **view))]

    assert times(use_sim_time={'/perception': False}) == []
    assert times(use_sim_time={'/perception': True}) == ['FAIL']
    clock = [(0, 5 * SECOND), (2 * SECOND, 6 * SECOND)]
    ours = {'clock': clock, 'clock_publishers': 1, 'perception': {'/perception': []}}
    assert times(use_sim_time={'/perception': True}, **ours) == ['OK']
    assert times(use_sim_time={'/perception': False, '/bag': False}, **ours) == ['WARN', 'OK']
    assert times(clock_publishers=1) == ['WARN']


def test_the_pace_of_simulated_time():
    view = GraphView(clock=[(0, 0), (2 * SECOND, SECOND)], clock_publishers=1)
    (finding,) = graph_checks.simulated_time(view)
    assert '0.50 of real time' in finding.found


def test_a_bag_in_a_loop_does_not_slow_the_clock():
    clock = [(n * SECOND // 10, n % 5 * SECOND // 10) for n in range(20)]
    (finding,) = graph_checks.simulated_time(GraphView(clock=clock, clock_publishers=1))
    assert '1.00 of real time, and jumped back 3 times' in finding.found


def test_stamps_beside_a_simulated_clock():
    def level(age_s):
        return stream_checks.stamps(TOPIC, '/bag', stream(age_s=age_s), simulated=True).level

    assert [level(age) for age in (-0.2, 0.2, -5.0, 5.0)] == ['OK', 'OK', 'WARN', 'WARN']


def test_nodes_of_the_same_name_and_what_they_say():
    assert graph_checks.nodes(GraphView(nodes=['/a', '/b'])).level == 'OK'
    twice = graph_checks.nodes(GraphView(nodes=['/a', '/b', '/a']))
    assert twice.level == 'WARN'
    assert twice.remedy == 'start one of them with --ros-args -r __node:=a_2'
    ours = graph_checks.nodes(GraphView(nodes=['/a', '/a'], perception={'/a': []}))
    assert ours.remedy.endswith('--ros-args -r __node:=a_2') and 'perception_node' in ours.remedy
    statuses = [Status('/perception: front', 0, 'fine'), Status('/perception: rear', 3, 'none')]
    view = GraphView(diagnostics=statuses, perception={'/perception': [], '/other': []})
    fine, stale, silent = graph_checks.diagnostics(view)
    assert (fine.level, stale.level, silent.level) == ('OK', 'WARN', 'skipped')
    assert '(stale)' in stale.found and '/other said nothing' in silent.found


def overloaded(message='9 of 30 images dropped', **values):
    values = {'output rate [Hz]': '10.0', **{k.replace('_', ' '): v for k, v in values.items()}}
    view = GraphView(diagnostics=[Status('/perception: /front', 1, message, values)])
    (finding,) = graph_checks.diagnostics(view)
    assert finding.level == 'WARN'
    return finding


def test_the_slowest_stage_of_an_overloaded_node_is_named():
    model = overloaded(slowest_stage='inference 51 ms')
    assert model.found.endswith('9 of 30 images dropped; slowest stage: inference 51 ms')
    assert 'smaller bundle' in model.remedy and 'max_rate' in model.remedy
    assert '8.0' in model.remedy
    publishing = overloaded(slowest_stage='publish 80 ms')
    assert 'bundle' not in publishing.remedy and 'publish' in publishing.remedy
    told = overloaded(
        '9 of 30 images dropped: slowest is publish 80 ms', slowest_stage='publish 80 ms'
    )
    assert told.found.count('publish 80 ms') == 1


def test_without_figures_no_rate_is_proposed():
    status = Status('/perception: /front', 1, '9 of 30 images dropped', {})
    assert 'max_rate' not in graph_checks.trouble(status).remedy


@pytest.mark.parametrize('values', [{}, {'slowest_stage': ''}, {'slowest_stage': 'unknown'}])
def test_without_a_slowest_stage_none_is_blamed(values):
    finding = overloaded(**values)
    assert finding.found.endswith('9 of 30 images dropped')
    assert 'max_rate' in finding.remedy and 'bundle' not in finding.remedy
