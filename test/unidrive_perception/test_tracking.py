# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Objects keep their ids: hand-made scenes, what must hold for any input, and a real video."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from unidrive_perception.bundle import Bundle, default_bundle
from unidrive_perception.predictor import Prediction, Predictor
from unidrive_perception.sources import open_source
from unidrive_perception.tracking import LOST_BUFFER_S, WEAK_SHARE, Tracker
from unidrive_perception.tracking.tracker import JITTER_S

PEDESTRIAN, RIDER, CAR, TRUCK, BICYCLE = 0, 1, 2, 3, 7
THRESHOLD = 0.3
WEAK = 0.25
SIZE = (720, 1280)
FPS = 10


def seen(*objects) -> Prediction:
    """Make the prediction of objects (x, y, width, height[, score[, class_id]]); x, y: centre."""
    rows = [(*o, *(0.8, CAR)[len(o) - 4 :]) for o in objects]
    rows.sort(key=lambda row: -row[4])
    x, y, width, height, scores, class_ids = np.array(rows, np.float64).reshape(-1, 6).T
    boxes = np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], 1)
    return Prediction(
        *(SIZE, boxes.astype(np.float32), scores.astype(np.float32)),
        *(class_ids.astype(np.int64), None, None),
    )


class Camera:
    """A tracker and the clock of its camera."""

    def __init__(self):
        self.tracker = Tracker()
        self.now = 100.0

    def show(self, *objects, after=1 / FPS) -> Prediction:
        self.now += after
        return self.tracker.update(seen(*objects), THRESHOLD, round(self.now * 1e9))

    def ids(self, *objects, after=1 / FPS) -> list[int]:
        """Ids from left to right."""
        prediction = self.show(*objects, after=after)
        return prediction.track_ids[np.argsort(prediction.boxes[:, 0])].tolist()


@pytest.fixture
def camera():
    return Camera()


def car(x, y=300, width=80, height=60, score=0.8, class_id=CAR):
    return x, y, width, height, score, class_id


def test_an_object_gets_its_id_with_the_second_image_and_keeps_it(camera):
    assert camera.ids(car(100), car(500)) == [0, 0]
    first = camera.ids(car(104), car(510))
    assert sorted(first) == [1, 2]
    for i in range(2, 40):
        assert camera.ids(car(100 + 4 * i), car(500 + 10 * i)) == first


def test_a_box_in_a_single_image_is_no_object(camera):
    for i in range(20):
        assert camera.ids(car(100 + 150 * (i % 5))) == [0]


@pytest.mark.parametrize('fps', [5, 10, 30])
def test_crossing_objects_do_not_change_places(camera, fps):
    ids = []
    for i in range(4 * fps):
        x = 150 * i / fps
        prediction = camera.show(
            car(200 + x, 300, score=0.8), car(800 - x, 312, score=0.7), after=1 / fps
        )
        ids.append(tuple(prediction.track_ids))
    assert {*ids[1:]} <= {(1, 2), (1, 0)}  # where one hides the other, only one is followed
    assert ids[fps] == ids[-1] == (1, 2)


@pytest.mark.parametrize(('hidden_s', 'same'), [(0.5, True), (0.9, True), (1.3, False)])
def test_an_object_behind_another_is_waited_for(camera, hidden_s, same):
    for i in range(15):
        before = camera.ids(car(100 + 8 * i))
    for _ in range(round(hidden_s * FPS) - 1):
        assert camera.ids() == []
        i += 1
    i += 1
    after = [camera.ids(car(100 + 8 * (i + k))) for k in range(3)][-1]
    assert (after == before) is same
    assert 0 not in before + after


def test_weak_boxes_continue_what_is_followed_and_else_are_left_out(camera):
    ids = [camera.ids(car(100), car(600, score=WEAK)) for _ in range(3)]
    assert ids == [[0], [1], [1]]
    for i in range(20):
        prediction = camera.show(car(100 + 3 * i, score=WEAK), car(600, score=WEAK - 0.01))
        assert prediction.track_ids.tolist() == [1]
        assert prediction.scores.tolist() == pytest.approx([WEAK])
    # nothing for a moment: now it takes a good score to be believed
    assert camera.ids() == []
    assert camera.ids(car(160, score=WEAK)) == []
    assert camera.ids(car(163)) == [1]


def test_weak_boxes_alone_never_make_an_object(camera):
    for _ in range(30):
        assert camera.ids(car(100, score=WEAK), car(300, score=WEAK)) == []
    assert camera.ids(car(100)) == [0]


def test_a_flickering_class_changes_neither_id_nor_class(camera):
    camera.show(car(100))
    for i in range(1, 40):
        class_id = TRUCK if i % 3 == 0 else CAR
        prediction = camera.show(car(100 + 5 * i, class_id=class_id))
        assert (prediction.track_ids[0], prediction.class_ids[0]) == (1, CAR)


def test_a_lasting_change_of_class_is_followed(camera):
    for _ in range(30):
        camera.show(car(100, class_id=CAR))
    for _ in range(10):
        prediction = camera.show(car(100, class_id=TRUCK))
    assert (prediction.track_ids[0], prediction.class_ids[0]) == (1, TRUCK)


def test_a_rider_and_the_bicycle_keep_apart(camera):
    classes = {}
    for i in range(40):
        x = 200 + 10 * i
        both = ((x, 300, 50, 110, 0.6, RIDER), (x + 4, 330, 60, 80, 0.5, BICYCLE))
        missing = {0: 1, 4: 0}.get(i % 8)  # now and then one of them is not found
        prediction = camera.show(*(o for k, o in enumerate(both) if i < 6 or k != missing))
        for track_id, class_id in zip(prediction.track_ids, prediction.class_ids, strict=True):
            classes.setdefault(track_id, set()).add(class_id)
    assert classes == {0: {RIDER, BICYCLE}, 1: {RIDER}, 2: {BICYCLE}}


def test_a_bicycle_does_not_become_the_rider_who_is_not_found(camera):
    for _ in range(10):
        assert camera.ids((200, 300, 50, 110, 0.6, RIDER)) in ([0], [1])
    assert camera.ids((204, 330, 60, 80, 0.5, BICYCLE)) == [0]


def test_a_small_fast_thing_is_found_again(camera):
    ids = [camera.ids(car(100 + 8 * i, 300, 12, 12)) for i in range(20)]
    assert ids == [[0]] + [[1]] * 19


def test_a_hidden_object_does_not_live_on_a_copy_of_the_one_in_front(camera):
    for i in range(40):
        x = min(200 + 10 * i, 480)  # and then it is hidden
        behind = [car(x, 300, 70, 50, 0.6)] if x < 480 else []
        prediction = camera.show(car(500), car(494, score=WEAK), *behind)
        if x == 480:
            assert prediction.track_ids.tolist() == [1]


def test_motion_is_in_seconds_so_dropped_images_do_not_matter(camera):
    steps = np.random.default_rng(5).choice([0.033, 0.067, 0.1, 0.3, 0.5], 40)
    steps[:4] = 0.05
    x = 100.0
    ids = []
    for after in steps:
        x += 160 * after  # up to its own width from image to image
        ids += camera.ids(car(x), after=after)
    assert set(ids[1:]) == {1}


def test_an_id_that_is_gone_is_not_given_again(camera):
    gone = set()
    for visit in range(6):
        for _ in range(3):
            ids = camera.ids(car(100 + 50 * visit))
        assert not gone & {*ids}
        gone |= {*ids}
        camera.show(after=LOST_BUFFER_S + 0.1)
    assert gone == {1, 2, 3, 4, 5, 6}


def test_reset_forgets_the_objects_and_goes_on_counting(camera):
    for _ in range(3):
        camera.ids(car(100))
    camera.tracker.reset()
    assert [camera.ids(car(100)) for _ in range(2)] == [[0], [2]]


@pytest.mark.parametrize('jump', [0.0, -0.02, -1e6, 1e6, 1e12], ids=str)
def test_stamps_that_jump_do_no_harm(camera, jump):
    for _ in range(3):
        before = camera.ids(car(100))
    camera.show(car(100), after=jump)
    after = [camera.ids(car(100 + i)) for i in range(3)]
    assert after[-1] == (before if -JITTER_S <= jump <= 0 else [2])


def test_a_camera_without_stamps_is_followed_and_forgotten():
    tracker = Tracker()
    for i in range(40):
        prediction = tracker.update(seen(car(100 + 12 * i)), THRESHOLD, 0)
    assert prediction.track_ids.tolist() == [1]
    for _ in range(12):
        tracker.update(seen(), THRESHOLD, 0)
    assert len(tracker._objects) == 0


def test_a_thing_that_the_network_gives_twice_gets_one_id_and_both_boxes_stay(camera):
    for i in range(20):
        x = 100 + 5 * i
        prediction = camera.show(
            car(x), car(x + 4, score=0.7), car(x, score=0.6, class_id=TRUCK), car(x, score=WEAK)
        )
        assert prediction.scores.tolist() == pytest.approx([0.8, 0.7, 0.6])
        assert prediction.track_ids.tolist() == [min(i, 1), 0, 0]


def test_images_without_boxes(camera):
    nothing = camera.show()
    assert nothing.boxes.shape == (0, 4) and nothing.track_ids.shape == (0,)
    assert nothing.track_ids.dtype == np.int64


def test_the_rest_of_the_prediction_is_passed_on_and_nothing_is_changed_in_place():
    tracker = Tracker()
    mask = np.zeros(SIZE, np.uint8)
    given = dataclasses.replace(seen(car(100), car(300, score=WEAK)), semantic=mask, drivable=mask)
    copies = [a.copy() for a in (given.boxes, given.scores, given.class_ids, given.track_ids)]
    for i in range(4):
        result = tracker.update(given, THRESHOLD, i * 10**8)
        assert result.semantic is mask and result.drivable is mask
        assert (result.image_size, result.timing) == (SIZE, given.timing)
    for array, copy in zip(
        (given.boxes, given.scores, given.class_ids, given.track_ids), copies, strict=True
    ):
        np.testing.assert_array_equal(array, copy)


def test_hundreds_of_objects(camera):
    columns, rows = np.meshgrid(np.arange(20) * 60 + 40, np.arange(15) * 45 + 40)
    places = np.stack([columns.ravel(), rows.ravel()], 1)
    speeds = np.random.default_rng(2).uniform(-15, 15, places.shape)
    ids = []
    for i in range(10):
        moved = places + speeds * i / FPS
        boxes = [car(*place, 30, 25, 0.9 - k / 1000) for k, place in enumerate(moved)]
        ids.append(camera.show(*boxes).track_ids.tolist())
    assert ids[1:] == [list(range(1, 301))] * 9


@pytest.mark.parametrize('seed', range(6))
def test_what_holds_for_any_boxes(seed):
    rng = np.random.default_rng(seed)
    tracker, stamp, strong_boxes = Tracker(), 0, 0
    known, over = {0}, set()  # ids, and those from before the reset
    for i in range(150):
        if i == 100:
            tracker.reset()
            over = known - {0}
        stamp += int(rng.choice([-(10**8), 0, 1, 33_000_000, 10**8, 5 * 10**8, 2 * 10**9]))
        given = any_prediction(rng)
        result = tracker.update(given, THRESHOLD, stamp)
        check_boxes(given, result)
        ids = {*result.track_ids.tolist()} - {0}
        assert not ids & over
        assert min(ids - known, default=10**6) > max(known)
        known |= ids
        strong_boxes += (given.scores >= THRESHOLD).sum()
        assert len(tracker._objects) < 200
    assert 1 < max(known) <= strong_boxes / 2  # each cost two strong boxes


def check_boxes(given: Prediction, result: Prediction):
    rows, came = (
        [(*b, s) for b, s in zip(p.boxes.tolist(), p.scores, strict=True)] for p in (result, given)
    )
    places = [came.index(row) for row in rows]
    assert places == sorted({*places})  # boxes that were given, in their order
    strong = given.scores >= THRESHOLD
    assert {*np.flatnonzero(strong)} <= {*places}
    assert (result.track_ids[~strong[places]] > 0).all()
    ids = result.track_ids[result.track_ids > 0]
    assert len(ids) == len(np.unique(ids))
    assert result.track_ids.dtype == result.class_ids.dtype == np.int64


def any_prediction(rng) -> Prediction:
    count = int(rng.choice([0, 1, 3, 40]))
    objects = np.stack(
        [
            *(rng.choice([100, 300, 310, 700], count) + rng.normal(0, 8, count) for _ in 'xy'),
            *(rng.choice([1, 40, 200], count) * rng.uniform(0.9, 1.1, count) for _ in 'wh'),
            rng.uniform(THRESHOLD * WEAK_SHARE, 0.6, count),
            rng.integers(0, 10, count),
        ],
        1,
    )
    return seen(*objects)


def test_the_cars_of_a_real_video_keep_their_ids(shared_data):
    predictor = Predictor(Bundle.load(default_bundle()), device='cpu')
    predictor.candidate_threshold = predictor.score_threshold * WEAK_SHARE
    tracker, images = Tracker(), Counter()
    video = shared_data / 'udacity_clips/videos/vehicle_detection_test_video.mp4'
    frames = list(open_source(video))
    for frame in frames:
        found = tracker.update(
            predictor.predict(frame.rgb()), predictor.score_threshold, frame.stamp_ns
        )
        large = found.boxes[:, 2] - found.boxes[:, 0] > 80
        images.update(found.track_ids[large & (found.track_ids > 0)].tolist())
    assert len(images) == 2  # a black and a white car
    assert min(images.values()) >= 0.8 * len(frames)
