# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The doctor's judgement of figures: Python, ROS, transport, machine, clock, model, parameters."""

import pytest

from unidrive_perception import transport
from unidrive_perception.doctor import (
    clock_checks,
    machine_checks,
    model_checks,
    parameter_checks,
    python_checks,
    ros_checks,
    transport_checks,
)
from unidrive_perception.doctor.definitions import differences, read_definitions
from unidrive_perception.doctor.image_load import ImageLoad
from unidrive_perception.doctor.round_trip import Trip

MB = 1 << 20


def levels(findings):
    return [finding.level for finding in findings]


# Python


@pytest.mark.parametrize(
    ('version', 'level'),
    [((3, 9, 1), 'FAIL'), ((3, 10, 4), 'OK'), ((3, 13, 0), 'OK'), ((3, 14, 0), 'WARN')],
)
def test_versions_of_python(version, level):
    assert python_checks.python(version).level == level


def test_packages_that_are_old_or_there_twice():
    said = {
        'numpy': {'version': '1.20.3'},
        'onnxruntime': {'version': '1.20', 'rivals': ['onnxruntime', 'onnxruntime-gpu']},
    }
    old, double, fine, rest = python_checks.packages(said)
    assert (old.check, old.level) == ('numpy', 'FAIL') and '1.21' in old.remedy
    assert double.level == 'WARN'
    assert 'uninstall -y onnxruntime onnxruntime-gpu' in double.remedy
    assert double.remedy.endswith('onnxruntime-gpu')
    assert fine.level == 'OK' and rest.level == 'skipped'


def test_a_cv_bridge_of_another_numpy_is_a_warning():
    sentence = 'OpenCV converts raw images, without cv_bridge: a trial of it ended'
    said = {'numpy': {'version': '2.2.6'}, 'cv_bridge': {'works': False, 'sentence': sentence}}
    finding = python_checks.cv_bridge(said)
    assert finding.level == 'WARN' and "'numpy<2'" in finding.remedy


# ROS


@pytest.mark.parametrize(
    ('text', 'level'),
    [('', 'OK'), ('0', 'OK'), ('101', 'OK'), ('102', 'WARN'), ('233', 'FAIL'), ('x', 'FAIL')],
)
def test_domains(text, level):
    assert ros_checks.domain({'ROS_DOMAIN_ID': text}).level == level


@pytest.mark.parametrize(
    ('environment', 'level'),
    [
        ({}, 'OK'),
        ({'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}, 'OK'),
        ({'ROS_AUTOMATIC_DISCOVERY_RANGE': 'OFF'}, 'WARN'),
        ({'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET', 'ROS_LOCALHOST_ONLY': '1'}, 'WARN'),
        ({'ROS_LOCALHOST_ONLY': '1', 'ROS_DISTRO': 'humble'}, 'OK'),
    ],
)
def test_discovery(environment, level):
    assert levels(ros_checks.discovery(environment)) == [level]


def test_a_ros_of_another_python(tmp_path):
    (tmp_path / 'lib' / 'python3.99' / 'site-packages' / 'rclpy').mkdir(parents=True)
    environment = {'AMENT_PREFIX_PATH': str(tmp_path)}
    finding = ros_checks.distribution({'missing': 'No module'}, 'no ROS here', environment)
    assert finding.level == 'FAIL' and finding.remedy.startswith('python3.99 ')


def test_a_ros_that_takes_too_long_is_a_failure():
    reason = 'ROS gives no answer here: loading rclpy took longer than 9 s'
    finding = ros_checks.distribution({}, reason, {}, late=True)
    assert (finding.level, finding.found) == ('FAIL', reason)


def test_a_stale_build_is_told_from_a_right_one(repo_root):
    wanted = read_definitions(repo_root / 'unidrive_msgs' / 'msg', 'unidrive_msgs')
    built = {
        name: {field: ros_checks_type(kind) for field, kind in fields}
        for name, (_, fields) in wanted.items()
    }
    assert built['DetectionArray']['header'] == 'std_msgs/Header'
    assert built['DetectionArray']['detections'] == 'sequence<unidrive_msgs/Detection>'
    assert built['BoundingBox']['x_min'] == 'float'
    assert differences(wanted, built) == []
    del built['LabelTable'], built['Detection']['track_id']
    built['ClassInfo']['name'] = 'uint8'
    assert differences(wanted, built) == [
        'ClassInfo has other fields',
        'Detection lacks track_id',
        'LabelTable is missing',
    ]


def ros_checks_type(kind):
    from unidrive_perception.doctor.definitions import ros_type

    return ros_type(kind)


@pytest.mark.ros
def test_types_are_named_as_rosidl_names_them():
    """Of every kind: arrays, sequences, strings, other packages' messages."""
    from sensor_msgs.msg import CameraInfo

    from unidrive_perception.message_types import default_typestore

    _, fields = default_typestore().fielddefs['sensor_msgs/msg/CameraInfo']
    ours = {name: ros_checks_type(kind) for name, kind in fields}
    assert ours == CameraInfo.get_fields_and_field_types()


# transport


@pytest.mark.parametrize(
    ('free', 'level'), [(0, 'FAIL'), (12 * MB, 'FAIL'), (60 * MB, 'WARN'), (4096 * MB, 'OK')]
)
def test_shared_memory(free, level):
    finding = transport_checks.shared_memory(free, max(free, 64 * MB))
    assert finding.level == level
    assert (level == 'OK') == (not finding.remedy)


def test_profiles(tmp_path, monkeypatch):
    ours = transport.profile_path()
    name = 'FASTDDS_DEFAULT_PROFILES_FILE'
    assert 'its defaults in others' in transport_checks.profile({}).found
    assert transport_checks.profile({name: str(ours)}).found.startswith('profile ')
    missing = transport_checks.profile({name: str(tmp_path / 'none.xml')})
    assert missing.level == 'FAIL' and str(ours) in missing.remedy
    assert 'your own' in transport_checks.profile({transport.USER_CHOICES[-1]: 'UDPv4'}).found


def test_receive_buffers_matter_where_udp_carries_images():
    assert transport_checks.receive_buffer(212992, shared=True).level == 'OK'
    small = transport_checks.receive_buffer(212992, shared=False)
    assert small.level == 'WARN' and small.remedy.startswith('sudo sysctl -w net.core.rmem_max=')
    assert transport_checks.receive_buffer(32 * MB, shared=False).level == 'OK'
    assert transport_checks.receive_buffer(None, shared=False).level == 'skipped'


@pytest.mark.parametrize(
    ('arrived', 'level'), [(20, 'OK'), (19, 'WARN'), (18, 'FAIL'), (0, 'FAIL')]
)
def test_lost_images(arrived, level):
    load = ImageLoad.of(1280, 720, 'rgb8')
    trip = Trip(20, [float(n) for n in range(arrived)], 30.0)
    finding = transport_checks.judge_trip(load, 'reliable', trip, 'do something', 'a to b')
    assert finding.level == level
    assert finding.figures['received'] == arrived
    assert f'{arrived} of 20 arrived' in finding.found and '2.76 MB' in finding.found
    assert bool(finding.remedy) == (level != 'OK')
    assert finding.found.endswith(' as from a to b')


def test_images_that_come_late_are_a_warning():
    trip = Trip(20, [300.0] * 20, 30.0)
    late = transport_checks.judge_trip(ImageLoad('', 1), 'reliable', trip, 'do something', '')
    assert late.level == 'WARN' and late.remedy == 'do something'


def test_what_a_live_camera_sends_does_arrive():
    """So the loss is that of another camera, one of this shell."""
    load = ImageLoad.of(1280, 720, 'rgb8')._replace(live=True)
    lost = transport_checks.judge_trip(load, 'best_effort', Trip(20), 'do something', '')
    assert lost.level == 'WARN' and 'live camera do arrive' in lost.found


def test_both_sides_keep_all_images_and_large_ones_are_fewer():
    plans = [
        transport_checks.plan(ImageLoad('', size)) for size in (100, 6 * MB, 25 * MB, 190 * MB)
    ]
    assert [p.count for p in plans] == [20, 20, 5, 5]
    assert all(p.depth == p.count for p in plans)


def test_the_configuration_of_fast_dds_in_words():
    name = 'FASTDDS_DEFAULT_PROFILES_FILE'
    assert transport_checks.configuration({}) == 'its defaults'
    assert transport_checks.configuration({name: '/a/fastdds.xml'}) == 'fastdds.xml'
    assert transport_checks.configuration({transport.USER_CHOICES[-1]: 'UDPv4'}) == 'UDPv4'


def test_percentiles_of_a_trip():
    trip = Trip(200, [float(n) for n in range(200)])
    assert (trip.median, trip.p99, trip.lost) == (99.5, 198.0, 0)


# machine


@pytest.fixture
def machine(tmp_path):
    """A machine as /proc and /sys tell of it."""

    def write(**files):
        for name, text in files.items():
            path = tmp_path / name.replace('__', '/').replace('_DOT_', '.')
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    write(proc__meminfo='MemTotal:  8388608 kB\nMemFree: 1 kB\nMemAvailable: 4194304 kB\n')
    return write


def test_memory_of_a_machine_and_of_a_container(machine):
    assert machine_checks.free_memory(machine()) == (4096 * MB, 8192 * MB)
    root = machine(
        proc__self__cgroup='0::/docker/abc\n',
        sys__fs__cgroup__memory_DOT_max=str(512 * MB),
        sys__fs__cgroup__memory_DOT_current=str(400 * MB),
    )
    assert machine_checks.free_memory(root) == (112 * MB, 512 * MB)
    assert machine_checks.memory(112 * MB, 512 * MB).level == 'FAIL'
    assert machine_checks.memory(500 * MB, 512 * MB).level == 'WARN'
    assert machine_checks.memory(4096 * MB, 8192 * MB).level == 'OK'


def test_memory_without_a_limit_and_of_cgroup_1(machine):
    root = machine(sys__fs__cgroup__memory_DOT_max='max')
    assert machine_checks.free_memory(root) == (4096 * MB, 8192 * MB)
    root = machine(
        sys__fs__cgroup__memory__memory_DOT_limit_in_bytes=str(1024 * MB),
        sys__fs__cgroup__memory__memory_DOT_usage_in_bytes=str(24 * MB),
    )
    assert machine_checks.free_memory(root) == (1000 * MB, 1024 * MB)


def test_processors_of_a_container(machine):
    assert machine_checks.cpu_quota(machine()) is None
    root = machine(sys__fs__cgroup__cpu_DOT_max='max 100000')
    assert machine_checks.cpu_quota(root) is None
    root = machine(sys__fs__cgroup__cpu_DOT_max='150000 100000')
    assert machine_checks.cpu_quota(root) == 1.5
    held_up = machine_checks.processors(8, 8, 1.5)
    assert held_up.level == 'WARN' and held_up.remedy.endswith('threads:=1')
    assert machine_checks.processors(8, 8, 1.5, threads=1).level == 'OK'
    assert machine_checks.processors(8, 2, None, threads=4).level == 'WARN'
    assert machine_checks.processors(8, 8, None).level == 'OK'


def test_load_and_governor(machine):
    assert machine_checks.load(0.5, 2).level == 'OK'
    assert machine_checks.load(1.9, 2).level == 'WARN'
    assert levels(machine_checks.governor(machine())) == []
    root = machine(sys__devices__system__cpu__cpu0__cpufreq__scaling_governor='powersave\n')
    assert levels(machine_checks.governor(root)) == ['WARN']


# clock


def test_clocks():
    tracking = 'A9FEA97B,time.host,3,1700000000.0,{},0.1,0.1,1,1,1,0.01,0.01,64.0,{}'
    assert clock_checks.by_chrony(tracking.format('-0.000120', 'Normal')).level == 'OK'
    assert clock_checks.by_chrony(tracking.format('0.250000', 'Normal')).level == 'WARN'
    unset = '00000000,,0,0.0,0.0,0.0,0.0,0,0,0,1,1,0,Not synchronised'
    assert clock_checks.by_chrony(unset).level == 'WARN'
    assert clock_checks.by_systemd('yes').level == 'OK'
    assert clock_checks.by_systemd('no').remedy


# model


def test_a_gpu_that_is_not_used_is_told_of():
    cpu = {'version': '1.20', 'providers': ['CPUExecutionProvider'], 'device': 'cpu'}
    cuda = {**cpu, 'providers': ['CUDAExecutionProvider', 'CPUExecutionProvider']}
    assert model_checks.providers(cpu, 'auto', gpu=False).level == 'OK'
    assert model_checks.providers(cpu, 'cpu', gpu=True).level == 'OK'
    assert model_checks.providers(cpu, 'auto', gpu=True).remedy.endswith('onnxruntime-gpu')
    assert model_checks.providers(cuda, 'auto', gpu=True).remedy.startswith('nvidia-smi')
    assert model_checks.providers({**cuda, 'device': 'cuda'}, 'auto', gpu=True).level == 'OK'
    refused = {**cpu, 'bundle': {}, 'error': "device 'cuda' needs onnxruntime with CUDA"}
    assert model_checks.providers(refused, 'cuda', gpu=False).level == 'FAIL'


def test_a_device_that_was_not_tried_is_not_promised():
    untried = {'version': '1.20', 'providers': ['CPUExecutionProvider']}
    assert model_checks.providers(untried, 'cuda', gpu=False).level == 'FAIL'
    assert model_checks.providers(untried, 'openvino-bfloat16', gpu=False).level == 'skipped'
    assert 'not tried' in model_checks.providers(untried, 'auto', gpu=False).found


def test_speed_against_the_camera():
    said = {'total_ms': 50.0, 'inference_ms': 45.0, 'runs': 10}
    assert model_checks.speed(said, 15.0, 'of the live camera').level == 'OK'
    slow = model_checks.speed(said, 40.0, 'of the live cameras')
    assert slow.level == 'WARN' and '50 % are dropped' in slow.found
    assert 'a smaller bundle' in slow.remedy
    decoding = model_checks.speed({**said, 'inference_ms': 10.0}, 40.0, 'of the live cameras')
    assert 'bundle' not in decoding.remedy
    beside = model_checks.speed(said, 40.0, 'of the live cameras', beside=True)
    assert beside.level == 'OK' and 'beside a running node' in beside.found
    assert model_checks.memory({'memory': 300 * MB}, 200 * MB).level == 'FAIL'


# parameters


def judged(section, **values):
    specs = parameter_checks.known_specs(values)
    return list(parameter_checks.judge('node.yaml', section, values, specs))


def test_parameters_of_cameras_and_of_every_node_are_known():
    assert not judged(
        'perception',
        **{
            'cameras': ['front'],
            'front.image_topic': '/front',
            'use_sim_time': True,
            'qos_overrides./image.subscription.depth': 2,
            'score_threshold': 1,
        },
    )


def test_strange_parameters_are_a_warning_unless_another_node_may_know_them():
    assert levels(judged('/car/perception', exposure=3)) == ['WARN']
    assert not judged('/**', exposure=3)
    (slip,) = judged('/**', max_agee=1.0)
    assert slip.level == 'FAIL' and 's/\\bmax_agee:/max_age:/' in slip.remedy


@pytest.mark.parametrize(
    ('section', 'ours'),
    [
        ('/**', True),
        ('/*', True),
        ('perception', True),
        ('/car/perception', True),
        ('/**/perception', True),
        ('camera', False),
        ('/perception/camera', False),
    ],
)
def test_sections_of_our_node(section, ours):
    assert parameter_checks.is_ours(section) is ours
