# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``process-bag`` killed, stopped, started again, by any number of processes: the same bag."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from bag_processing import messages, process_bag, start_process_bag, streets
from sample_bags import write_image_bag, write_video
from tiny_bundle import write_tiny_bundle

from unidrive_perception.errors import UserError
from unidrive_perception.processing import steps

FRAMES = 30  # in three shards
PATIENCE = 120.0  # seconds, of a busy machine


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A model that takes its time, a drive, and the results of both."""
    folder = tmp_path_factory.mktemp('drive')
    write_tiny_bundle(folder / 'tiny', cost=1)
    write_image_bag(folder / 'drive', pictures=streets(FRAMES))
    process_bag(*arguments(folder, folder / 'reference'))
    return folder


def arguments(folder, out):
    return folder / 'drive', out, '--model', folder / 'tiny', '--overlay', '--track'


def wait_until(is_so):
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def shards(out):
    return list(out.with_name(f'{out.name}.partial').glob('shard_*'))


def children(process):
    """The worker processes of a command."""
    with contextlib.suppress(FileNotFoundError):
        pids = Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text().split()
        lines = {int(pid): Path(f'/proc/{pid}/cmdline').read_bytes() for pid in pids}
        return [pid for pid, line in lines.items() if b'spawn_main' in line]
    return []


def is_alive(pid):
    with contextlib.suppress(FileNotFoundError):
        return ') Z' not in Path(f'/proc/{pid}/stat').read_text()
    return False


def check_same(folder, out):
    assert messages(out) == messages(folder / 'reference')
    beside = {path.name for path in out.parent.iterdir()}
    assert not [name for name in beside if 'partial' in name or name.startswith('.')]


@pytest.mark.parametrize('jobs', [2, 3])
def test_any_number_of_processes_writes_the_same(tmp_path, folder, jobs):
    process_bag(*arguments(folder, tmp_path / 'out'), '--jobs', jobs)
    check_same(folder, tmp_path / 'out')


def test_killed_again_and_again(tmp_path, folder):
    out = tmp_path / 'out'
    for enough in (1, 2):
        process = start_process_bag(*arguments(folder, out), '--jobs', 2)
        wait_until(lambda n=enough: len(shards(out)) >= n)
        workers = children(process)
        process.kill()
        process.communicate()
        assert not out.exists()
        wait_until(lambda pids=workers: not any(map(is_alive, pids)))
    assert process_bag(*arguments(folder, out), '--jobs', 1) == 0
    check_same(folder, out)


def test_killed_while_merging(tmp_path, folder):
    out = tmp_path / 'out'
    process = start_process_bag(*arguments(folder, out), '--jobs', 1)
    wait_until((tmp_path / 'out.partial' / 'merged').exists)
    process.kill()
    process.communicate()
    assert process_bag(*arguments(folder, out)) == 0
    check_same(folder, out)


def test_killed_while_cleaning_up(tmp_path, folder, monkeypatch, capsys):
    out = tmp_path / 'out'

    def killed(self):
        os.rename(self.merged / self.out.name, self.out)
        raise MemoryError

    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(steps.WorkFolder, 'finish', killed)
        process_bag(*arguments(folder, out))
    assert shards(out)
    assert process_bag(*arguments(folder, out)) == 0
    check_same(folder, out)
    assert process_bag(*arguments(folder, out)) == 0, 'nothing is left to do'
    assert (
        f'nothing is left to do: {FRAMES} frames processed, 0 bad; results'
        in capsys.readouterr().out
    )


def test_interrupted(tmp_path, folder):
    out = tmp_path / 'out'
    process = start_process_bag(*arguments(folder, out), '--jobs', 2)
    wait_until(lambda: shards(out))
    workers = children(process)
    os.killpg(process.pid, signal.SIGINT)  # Ctrl-C goes to all processes
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert 'give the same command again to go on' in output
    assert 'Traceback' not in output
    assert len(workers) == 2
    assert not any(map(is_alive, workers))
    assert not list(tmp_path.glob('out.partial/.*')), 'no unfinished shard'
    process_bag(*arguments(folder, out))
    check_same(folder, out)


def test_a_worker_that_is_killed_is_told_of(tmp_path, folder):
    out = tmp_path / 'out'
    process = start_process_bag(*arguments(folder, out), '--jobs', 2)
    wait_until(lambda: len(children(process)) == 2 and shards(out))
    os.kill(children(process)[0], signal.SIGKILL)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert '1 of 2 worker processes ended before their work was done (exit code -9' in output
    assert len(shards(out)) >= 2, 'the other one has done its share'
    process_bag(*arguments(folder, out))
    check_same(folder, out)


def test_errors_of_a_worker_are_told(tmp_path, folder, capfd):
    (tmp_path / 'images').mkdir()
    for i in range(20):
        (tmp_path / 'images' / f'{i}.png').write_bytes(b'no image')
    with pytest.raises(UserError, match=r'there is no frame on .* that can be read: frame 0'):
        process_bag(tmp_path / 'images', tmp_path / 'out', '--model', folder / 'tiny', '--jobs', 2)
    assert [path.name for path in tmp_path.iterdir()] == ['images']
    assert 'Traceback' not in capfd.readouterr().err


@pytest.fixture
def unfinished(tmp_path, folder):
    """A copy of the drive, and work on it that was interrupted after some shards."""
    shutil.copytree(folder / 'drive', tmp_path / 'drive')
    args = tmp_path / 'drive', tmp_path / 'out', '--model', folder / 'tiny'
    process = start_process_bag(*args, '--jobs', 1)
    wait_until(lambda: shards(tmp_path / 'out'))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    return args


def test_other_work_is_not_mixed_in(tmp_path, folder, unfinished):
    def refused(words, *args):
        with pytest.raises(UserError, match=words) as caught:
            process_bag(*args)
        assert 'give that command again to finish it, or remove the folder' in str(caught.value)
        assert shards(tmp_path / 'out'), 'all is still there'

    drive, out, _, model = unfinished
    refused('--score-threshold was default, is now 0.3', *unfinished, '--score-threshold', '0.3')
    refused('--track was off, is now on', *unfinished, '--track')
    refused('--copy-images was no, is now yes', *unfinished, '--copy-images')
    other = write_tiny_bundle(tmp_path / 'other')
    refused('--model was tiny [0-9a-f]{12}, is now tiny', drive, out, '--model', other)
    refused(r'input was .*drive, is now', folder / 'drive', out, '--model', model)
    os.utime(drive / 'drive.mcap', ns=(1, 1))
    refused('state of the input was', *unfinished)


def test_one_command_at_a_time(tmp_path, folder, monkeypatch):
    out = tmp_path / 'out'
    process = start_process_bag(*arguments(folder, out), '--jobs', 1)
    wait_until(lambda: shards(out))
    process.send_signal(signal.SIGSTOP)
    monkeypatch.setattr('unidrive_perception.processing.work_folder._PATIENCE', 0.3)
    with pytest.raises(UserError, match=r'another command is at work on .*out .*wait for it'):
        process_bag(*arguments(folder, out))
    process.send_signal(signal.SIGCONT)
    assert process.wait(PATIENCE) == 0
    check_same(folder, out)


def cut_off(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    return path


@pytest.mark.parametrize(
    ('kind', 'words'), [('video', 'frames were read'), ('mcap', 'only its complete messages')]
)
def test_any_number_of_processes_finds_that_an_end_is_missing(
    tmp_path, folder, capsys, kind, words
):
    if kind == 'video':
        source = cut_off(write_video(tmp_path / 'clip.avi', count=40))
    else:
        source = write_image_bag(tmp_path / 'drive', pictures=streets(40, 270, 480))
        source = cut_off(source / 'drive.mcap')
    written, said = [], []
    for jobs in (1, 2):
        out = tmp_path / f'out{jobs}'
        assert process_bag(source, out, '--model', folder / 'tiny', '--jobs', jobs) == 0
        written.append(messages(out))
        said.append([line for line in capsys.readouterr().out.splitlines() if 'warning' in line])
    assert written[0] == written[1]
    assert 20 < len(written[0]) // 4 < 30
    assert said[0] == said[1]
    assert words in said[0][0]
