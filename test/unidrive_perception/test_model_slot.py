# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The model in use, and another one that takes its place."""

import threading
import time
import weakref
from contextlib import contextmanager

import pytest
from live_node import wait_until
from tiny_bundle import write_tiny_bundle

from unidrive_perception import bundle
from unidrive_perception.bundle import BundleError, file_sha256
from unidrive_perception.errors import Ended, UserError
from unidrive_perception.node import model_slot
from unidrive_perception.node.model_slot import LOADING_THREAD, ModelSlot
from unidrive_perception.predictor import Predictor


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    """Folders of two models that differ."""
    folder = tmp_path_factory.mktemp('models')
    tasks = {'one': ('detection', 'semantic', 'drivable'), 'two': ('semantic',)}
    return {name: str(write_tiny_bundle(folder / name, tasks=t)) for name, t in tasks.items()}


@pytest.fixture
def slot(models):
    """A slot with model one."""
    slot = ModelSlot()
    slot.load(models['one'], 'cpu', 1, threading.Event())
    return slot


def finished(slot):
    """The change that the slot tells of, once it does."""
    end = time.monotonic() + 60
    while (change := slot.finish_swap()) is None:
        assert time.monotonic() < end
        time.sleep(0.005)
    return change


def broken(folder):
    """A bundle that is as its manifest says, but holds no program."""
    write_tiny_bundle(folder)
    program, manifest = folder / 'model.onnx', folder / 'manifest.yaml'
    before = file_sha256(program)
    program.write_bytes(b'no program')
    manifest.write_text(manifest.read_text().replace(before, file_sha256(program)))
    return str(folder)


def damaged(folder):
    """A bundle whose program is not that of its manifest."""
    with (write_tiny_bundle(folder) / 'model.onnx').open('ab') as program:
        program.write(b'damage')
    return str(folder)


def test_a_model_is_loaded_and_told_of(models):
    slot = ModelSlot()
    said = slot.load(models['one'], 'cpu', 1, threading.Event())
    assert slot.path == models['one'] and set(slot.model.labels) == {
        'detection',
        'semantic',
        'drivable',
    }
    assert said.startswith(f'model tiny from {models["one"]}: detection, semantic, drivable; ')
    assert slot.loading == ''


def test_a_model_that_cannot_be_leaves_the_slot_empty(tmp_path):
    slot = ModelSlot()
    with pytest.raises(BundleError, match='no such model bundle folder'):
        slot.load(str(tmp_path / 'nothing'), 'cpu', 1, threading.Event())
    with pytest.raises(BundleError, match='onnxruntime cannot load it'):
        slot.load(broken(tmp_path / 'broken'), 'cpu', 1, threading.Event())
    with pytest.raises(BundleError, match='the file is damaged'):
        slot.load(damaged(tmp_path / 'damaged'), 'cpu', 1, threading.Event())
    assert slot.model is None and slot.path == ''


def test_nobody_waits_for_a_model_once_the_node_ends(tmp_path):
    slow = write_tiny_bundle(tmp_path / 'slow', cost=20)
    ended = threading.Event()
    ended.set()
    with pytest.raises(Ended, match=r'ended while .* was being loaded'):
        ModelSlot().load(str(slow), 'cpu', 1, ended)
    for thread in threading.enumerate():  # Python must not end in the midst of it
        if thread.name == LOADING_THREAD:
            thread.join()


def test_another_model_takes_over_when_it_is_there(slot, models):
    old = slot.model
    slot.begin_swap(models['two'], 'cpu', 1)
    assert slot.loading == models['two']
    assert slot.model is old  # it works meanwhile
    change = finished(slot)
    assert change.succeeded and change.sentence.startswith(f'model tiny from {models["two"]}')
    assert (slot.path, set(slot.model.labels), slot.loading) == (models['two'], {'semantic'}, '')


def test_the_old_model_is_freed(slot, models):
    old = weakref.ref(slot.model)
    slot.begin_swap(models['two'], 'cpu', 1)
    finished(slot)
    assert old() is None


@pytest.mark.parametrize('make', [broken, damaged])
def test_the_old_model_stays_when_the_new_one_breaks(slot, models, tmp_path, make):
    old, path = slot.model, make(tmp_path / 'broken')
    slot.begin_swap(path, 'cpu', 1)
    change = finished(slot)
    assert not change.succeeded
    assert change.sentence.startswith(path) and change.sentence.endswith('stays in use')
    assert (slot.model, slot.path, slot.loading) == (old, models['one'], '')
    assert slot.finish_swap() is None  # told once
    slot.begin_swap(models['two'], 'cpu', 1)  # and another one may come
    assert finished(slot).succeeded


def test_a_large_program_is_not_read_by_the_thread_that_asks(slot, models, monkeypatch):
    readers = []

    def slow(path):
        readers.append(threading.current_thread())
        return file_sha256(path)

    monkeypatch.setattr(bundle, 'file_sha256', slow)
    slot.begin_swap(models['two'], 'cpu', 1)
    assert finished(slot).succeeded
    assert len(readers) == 1 and readers[0] is not threading.current_thread()


def test_the_model_in_use_is_not_loaded_again(slot, models):
    slot.begin_swap(models['one'], 'cpu', 1)
    assert slot.loading == '' and slot.finish_swap() is None


def test_one_at_a_time(slot, models, tmp_path):
    slot.begin_swap(models['two'], 'cpu', 1)
    with pytest.raises(UserError, match='is being loaded: try again when it is done'):
        slot.begin_swap(str(tmp_path), 'cpu', 1)
    finished(slot)


def test_a_wrong_path_is_refused_with_or_without_a_model(slot, tmp_path):
    for some in (slot, ModelSlot()):
        with pytest.raises(BundleError, match='no such model bundle folder'):
            some.begin_swap(str(tmp_path / 'nothing'), 'cpu', 1)
        assert some.loading == ''


def test_without_a_model_a_path_is_only_checked(models):
    slot = ModelSlot()
    slot.begin_swap(models['one'], 'cpu', 1)
    assert slot.loading == '' and slot.model is None and slot.finish_swap() is None


def test_a_model_that_comes_after_the_end_is_forgotten(slot, models, monkeypatch):
    given_back, may_come = [], threading.Event()
    monkeypatch.setattr(model_slot, 'give_back_memory', lambda: given_back.append(1))
    monkeypatch.setattr(Predictor, 'warm_up', lambda self: may_come.wait(60))
    slot.begin_swap(models['two'], 'cpu', 1)
    slot.release()
    assert slot.finish_swap() is None and given_back == [1]
    may_come.set()
    wait_until(lambda: slot.finish_swap() or len(given_back) == 3, 'its memory')
    assert slot.finish_swap() is None and slot.model is None and len(given_back) == 3


def test_models_are_loaded_within_patience(models, monkeypatch):
    depths, depth = [], []

    @contextmanager
    def patience():
        depth.append(1)
        yield
        depth.pop()

    monkeypatch.setattr(Predictor, 'warm_up', lambda self: depths.append(len(depth)))
    slot = ModelSlot(patience)
    slot.load(models['one'], 'cpu', 1, threading.Event())
    slot.begin_swap(models['two'], 'cpu', 1)
    finished(slot)
    assert depths == [1, 1] and not depth
