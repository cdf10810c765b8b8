# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Pseudo-labelling killed, repeated, refused, or asked of a folder that has grown."""

import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
from small_teachers import (
    COMMAND,
    ONE_THREAD,
    arguments,
    contents,
    data,  # noqa: F401
    labelled,  # noqa: F401
    part_of,
    runs,  # noqa: F401
    save_teacher,
)

from unidrive_perception.errors import UserError
from unidrive_training.cli import main
from unidrive_training.data.bdd100k import read_split
from unidrive_training.data.pseudo_labels import add_pseudo_labels
from unidrive_training.engine import pseudo_label
from unidrive_training.engine.pseudo_label_files import PseudoLabelFiles
from unidrive_training.engine.run_lock import only_one


def kill_midway(command, out):
    """SIGKILL after the first image; returns the folder of what is done then."""
    images = out / '.work' / 'images'
    for _ in range(5):  # on a busy machine the run may be faster than the eye
        process = subprocess.Popen(command, env=ONE_THREAD)
        while process.poll() is None and not list(images.glob('*.json')):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        if process.wait() == -signal.SIGKILL:
            return images
        shutil.rmtree(out)
    raise AssertionError('it ended before it could be killed')


def test_a_killed_run_goes_on_with_another_number_of_processes(data, runs, labelled, tmp_path):
    out = tmp_path / 'labels'
    command = [sys.executable, *COMMAND, *arguments(data, out, runs)]
    images = kill_midway(command, out)
    with pytest.raises(UserError, match='unfinished; run the same `unidrive pseudo-label` again'):
        add_pseudo_labels(read_split(data, 'train'), out)
    done = {path.stem for path in images.glob('*.json')}
    assert 0 < len(done) < 12
    masks = [path for path in out.rglob('*.png') if path.stem in done]
    written = {path: path.stat().st_mtime_ns for path in masks}
    again = [sys.executable, '-m', 'torch.distributed.run', '--nproc-per-node', '2']
    again += ['--standalone', *command[1:]]
    subprocess.run(again, check=True, timeout=300, env=ONE_THREAD)
    assert {path: path.stat().st_mtime_ns for path in masks} == written
    assert contents(out) == contents(labelled)


def test_a_finished_folder_says_so(data, runs, labelled, capsys):
    before = contents(labelled)
    (labelled / '.work').mkdir()  # as a kill in the last moment leaves it
    assert main(['pseudo-label', *arguments(data, labelled, runs)]) == 0
    assert 'all pseudo-labels are there already' in capsys.readouterr().out
    assert contents(labelled) == before and not (labelled / '.work').exists()


def test_what_is_new_joins_a_finished_folder(data, runs, labelled, tmp_path, monkeypatch, capsys):
    """One image at a time, so that the result is that of all at once, to the last bit."""
    one = ('--batch-size', '1')
    whole, grown, root = tmp_path / 'whole', tmp_path / 'grown', tmp_path / 'data'
    images = part_of(data, root, ['00', '05', '07', '13'])
    (images / '03.jpg').write_bytes(b'half')
    assert main(['pseudo-label', *arguments(root, grown, runs, *one)]) == 0
    masks = {path: path.stat().st_mtime_ns for path in grown.rglob('*.png')}
    for name in ('03', '06', '12'):  # one that can be read now, a new one, one with all labels
        shutil.copy(data / f'images/100k/train/{name}.jpg', images)
    capsys.readouterr()
    with pytest.raises(
        UserError, match=r'1 of 7 images have neither .* 06 \(drivable, semantic\)'
    ):
        add_pseudo_labels(read_split(root, 'train'), grown)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(PseudoLabelFiles, '_replace', dying_before_the_index(grown, Killed))
        main(['pseudo-label', *arguments(root, grown, runs, *one)])
    with pytest.raises(UserError, match='unfinished; run the same'):
        add_pseudo_labels(read_split(root, 'train'), grown)
    assert main(['pseudo-label', *arguments(root, grown, runs, *one)]) == 0
    printed = capsys.readouterr().out
    assert printed.count('7 images, to label: detection 1, semantic 1, drivable 2') == 2
    assert '; 2 are done already' in printed
    assert all(path.stat().st_mtime_ns == then for path, then in masks.items())
    assert main(['pseudo-label', *arguments(root, whole, runs, *one)]) == 0
    assert contents(grown) == contents(whole)
    assert all(
        len(record.tasks()) == 3 for record in add_pseudo_labels(read_split(root, 'train'), grown)
    )
    assert main(['pseudo-label', *arguments(root, grown, runs, *one)]) == 0
    assert 'all pseudo-labels are there already' in capsys.readouterr().out


class Killed(Exception):
    pass


def dying_before_the_index(folder, error):
    replace = PseudoLabelFiles._replace

    def write(files, path, content):
        if path == folder / 'pseudo_labels.json':
            raise error
        replace(files, path, content)

    return write


def refusal(capsys, *given):
    assert main(['pseudo-label', *map(str, given)]) == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1
    return error


def test_other_teachers_or_thresholds_are_refused(data, runs, labelled, tmp_path, capsys):
    before = contents(labelled)
    error = refusal(capsys, *arguments(data, labelled, runs, '--box-score', '0.6'))
    assert 'teachers.detection.threshold was 0.5, is 0.6' in error
    other = save_teacher(tmp_path / 'other', 'box_teacher', ['detection'], (64, 128), seed=1)
    error = refusal(capsys, *arguments(data, labelled, runs | {'boxes': other}))
    assert 'teachers.detection.weights_sha256 was' in error
    error = refusal(capsys, data, labelled, '--teacher', f'detection={runs["boxes"]}')
    assert 'teachers.drivable was {' in error and error.count('is absent') == 1
    assert contents(labelled) == before


@pytest.mark.parametrize(
    ('more', 'sentence'),
    [
        (['--box-score', '1.5'], '--box-score 1.5: give a number from 0 to 1'),
        (['--mask-confidence', 'nan'], '--mask-confidence nan: give'),
        (['--batch-size', '0'], '--batch-size 0: give at least 1'),
        (['--teacher', 'lanes=x'], '--teacher lanes=x: give TASK=RUN'),
        (['--teacher', 'semantic=x'], 'semantic has a teacher already'),
        (['--split', 'test'], 'no images in images/100k/test'),
    ],
)
def test_wrong_arguments(data, runs, tmp_path, capsys, more, sentence):
    assert sentence in refusal(capsys, *arguments(data, tmp_path / 'out', runs, *more))
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('file', ['pseudo_labels.json', '.work/pseudo_labels.json'])
def test_a_damaged_index_is_said(data, runs, tmp_path, capsys, file):
    (tmp_path / 'out' / '.work').mkdir(parents=True)
    (tmp_path / 'out' / file).write_text('{"version": 1,')
    error = refusal(capsys, *arguments(data, tmp_path / 'out', runs))
    assert f'{file} is no JSON' in error and 'give a new folder' in error


def test_one_command_at_a_time_in_a_folder(data, runs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pseudo_label, 'only_one', partial(only_one, patience=0))
    out = tmp_path / 'out'
    with only_one(out):
        assert 'is at work here' in refusal(capsys, *arguments(data, out, runs))
        assert [path.name for path in out.iterdir()] == ['.lock']  # it did no work


def test_the_file_of_the_lock_disturbs_nobody(data, labelled, capsys):
    assert (labelled / '.lock').is_file()
    main(['check-data', str(labelled)])
    printed = capsys.readouterr().out
    assert 'train/semantic: all 8' in printed and '.lock' not in printed
    assert add_pseudo_labels(read_split(data, 'train'), labelled)


def test_a_teacher_without_that_head(data, runs, tmp_path, capsys):
    given = (data, tmp_path / 'out', '--teacher', f'detection={runs["masks"]}')
    assert 'this model has only semantic, drivable' in refusal(capsys, *given)


def test_labels_never_go_where_others_are(data, runs, tmp_path, capsys):
    assert 'is the data itself' in refusal(capsys, *arguments(data, data, runs))
    (tmp_path / 'labels').mkdir()
    assert 'holds other files' in refusal(capsys, *arguments(data, tmp_path, runs))
    assert list(tmp_path.iterdir()) == [tmp_path / 'labels']


def test_a_teacher_that_finds_nothing_is_pointed_out(data, runs, tmp_path, capsys):
    given = arguments(data, tmp_path / 'labels', runs, '--box-score', '1')
    assert main(['pseudo-label', *given]) == 0
    assert '0 boxes of score ≥ 1.0\nwarning: no box at all; lower' in capsys.readouterr().out
