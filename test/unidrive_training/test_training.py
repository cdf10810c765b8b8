# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Training for real, in miniature: it learns, it resumes exactly, it refuses what cannot work."""

import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_training import tiny_config
from torchvision.ops import box_iou

from unidrive_perception.errors import UserError
from unidrive_training import distributed
from unidrive_training.cli import main
from unidrive_training.data import sample
from unidrive_training.data.augment import Augmentation
from unidrive_training.data.bdd100k import Bdd100kWriter, read_image, read_mask, read_split
from unidrive_training.data.sample import letterbox, load_sample
from unidrive_training.data.stream import TrainingData, TrainingStream, collate, quotas
from unidrive_training.engine.checkpoint import (
    checkpoints,
    load_trained_model,
    read_checkpoint,
    save_checkpoint,
)
from unidrive_training.engine.trainer import Trainer
from unidrive_training.evaluation.checkpoint_predictor import CheckpointPredictor
from unidrive_training.evaluation.evaluate import evaluate
from unidrive_training.models import sparse_rcnn
from unidrive_training.models.multitask import TASKS, MultiTaskModel

ITERATIONS = 220


@pytest.fixture(scope='module')
def trained(scenes, tmp_path_factory):
    folder = tmp_path_factory.mktemp('run')
    Trainer(tiny_config(scenes, ITERATIONS), folder, 'cpu').run()
    return folder


@torch.no_grad()
def held_out_losses(model, scenes):
    samples = [letterbox(load_sample(record), (96, 160)) for record in read_split(scenes, 'val')]
    losses = model.eval().losses(*collate(samples))
    return {name: value.item() for name, value in losses.items()}


def test_every_loss_falls(trained):
    events = EventAccumulator(str(trained / 'tensorboard'))
    events.Reload()
    losses = [tag for tag in events.Tags()['scalars'] if tag.startswith('loss/')]
    assert len(losses) == 12 + 3 + 1  # with denoising and the two pixel losses; tasks; total
    for tag in losses:
        values = [event.value for event in events.Scalars(tag)]
        assert len(values) == ITERATIONS
        assert np.mean(values[-30:]) < 0.97 * np.mean(values[:30]), tag


def test_the_trained_model_beats_an_untrained_one_on_streets_it_has_not_seen(trained, scenes):
    model, config, facts = load_trained_model(trained)
    assert facts['iteration'] == ITERATIONS
    torch.manual_seed(0)
    untrained = MultiTaskModel(config.model)
    losses = held_out_losses(untrained, scenes), held_out_losses(model, scenes)
    for task in ('detection', 'semantic', 'drivable'):
        old, new = (sum(v for n, v in terms.items() if n.startswith(task)) for terms in losses)
        assert new < 0.9 * old, (task, old, new)
    predictors = CheckpointPredictor(trained), CheckpointPredictor(trained)
    predictors[0].model = untrained.eval()
    old, new = (evaluate(predictor, scenes).scores for predictor in predictors)
    assert new['semantic']['pixel_accuracy'] > 0.5
    assert new['semantic']['mean_iou'] > 0.05 + old['semantic']['mean_iou']
    assert new['drivable']['drivable_iou'] > 0.4 + old['drivable']['drivable_iou']
    assert new['detection']['images'] == 12
    # So short a training reaches no AP to speak of, but much better boxes and classes.
    old, new = (overlap_of_the_best(predictor, scenes) for predictor in predictors)
    assert new > 0.03 + old, (old, new)


def overlap_of_the_best(predictor, scenes):
    """Mean IoU of an image's T best-scored boxes with a truth of their class; T truths."""
    overlaps = []
    for record in read_split(scenes, 'val'):
        learned = ~record.boxes.crowd
        truth = torch.from_numpy(record.boxes.boxes[learned])
        count = len(truth)
        prediction = predictor.predict(read_image(record.image))
        found = torch.from_numpy(prediction.boxes[:count])
        same = record.boxes.class_ids[learned][:, None] == prediction.class_ids[None, :count]
        if count:
            overlaps += (box_iou(truth, found) * torch.from_numpy(same)).amax(0).tolist()
    return np.mean(overlaps)


class Killed(Exception):
    pass


class KilledTrainer(Trainer):
    """Dies in the middle, as by a power cut: after a step, before the next checkpoint."""

    def _steps(self):
        for number, step in super()._steps():
            if step.iteration == 8:
                raise Killed
            yield number, step


def test_a_killed_run_goes_on_exactly(scenes, tmp_path):
    """Killed in the second phase; the noise of the denoising proposals is random."""
    config = tiny_config(scenes, 8, checkpoint_every=3, log_every=2, keep_checkpoints=2)
    assert config.phases[0].iterations == 4
    assert config.model.heads['detection']['denoising'] > 0
    Trainer(config, tmp_path / 'whole', 'cpu').run()
    with pytest.raises(Killed):
        KilledTrainer(config, tmp_path / 'killed', 'cpu').run()
    resumed = Trainer(config, tmp_path / 'killed', 'cpu')
    assert resumed.iteration == 6
    resumed.run()
    for name in ('whole', 'killed'):
        numbers = [path.name for path in checkpoints(tmp_path / name)]
        assert numbers == ['checkpoint_0000006.pt', 'checkpoint_0000008.pt']
    states = [read_checkpoint(tmp_path / n) for n in ('whole', 'killed')]
    for part in ('model', 'average'):
        for name, value in states[0][part].items():
            assert torch.equal(value, states[1][part][name]), name


def test_every_process_and_iteration_has_noise_of_its_own(scenes, tmp_path, monkeypatch):
    noises = []

    def record_noise(boxes):
        noises.append(torch.rand(4))
        return boxes

    trainer = Trainer(tiny_config(scenes, 2), tmp_path, 'cpu')
    monkeypatch.setattr(sparse_rcnn, 'with_noise', record_noise)
    batch = stream(scenes)[0]
    for rank, iteration in ((0, 0), (1, 0), (0, 1), (1, 0)):
        monkeypatch.setattr(distributed, 'rank', lambda rank=rank: rank)
        trainer.learner.step([batch], 0.0, iteration)
    first, other_rank, next_iteration, again = torch.stack(noises).chunk(4)
    assert len(first) > 0 and torch.equal(other_rank, again)
    for other in (other_rank, next_iteration):
        assert not torch.equal(first, other)
    assert not torch.equal(other_rank, next_iteration)


def test_a_run_goes_on_with_its_own_config_only(scenes, tmp_path):
    config = tiny_config(scenes, 1)
    Trainer(config, tmp_path, 'cpu').run()
    faster = config.model_copy(update={'workers': 2, 'log_every': 7})
    assert Trainer(faster, tmp_path, 'cpu').iteration == 1
    changed = r'another config \(phases\.0\.iterations was 1, is 2\)'
    longer = config.model_copy(
        update={'phases': [config.phases[0].model_copy(update={'iterations': 2})]}
    )
    with pytest.raises(UserError, match=changed):
        Trainer(longer, tmp_path, 'cpu')


def test_a_damaged_last_checkpoint_is_passed_over(scenes, tmp_path, capsys):
    config = tiny_config(scenes, 2, checkpoint_every=1)
    Trainer(config, tmp_path, 'cpu').run()
    (tmp_path / 'checkpoint_0000002.pt').write_bytes(b'half')
    assert Trainer(config, tmp_path, 'cpu').iteration == 1
    assert 'checkpoint_0000002.pt: not a readable checkpoint' in capsys.readouterr().err


def test_training_starts_from_another_run(trained, scenes, tmp_path):
    config = tiny_config(scenes, 1)
    trainer = Trainer(config, tmp_path, 'cpu', init=trained)
    model, _, _ = load_trained_model(trained)
    for name, value in model.state_dict().items():
        assert torch.equal(trainer.model.state_dict()[name], value)


def test_proposals_are_fitted_to_the_boxes_where_init_has_none_that_fit(scenes, trained, tmp_path):
    """Else they start where the other run's training has left them."""
    config = tiny_config(scenes, 1)
    learned = Trainer(config, tmp_path / 'same', 'cpu', init=trained).model
    expected = load_trained_model(trained)[0].heads['detection'].proposal_boxes.weight
    assert torch.equal(learned.heads['detection'].proposal_boxes.weight, expected)
    config.model.heads['detection']['proposals'] += 3
    fitted = Trainer(config, tmp_path / 'more', 'cpu', init=trained).model
    boxes = fitted.heads['detection'].proposal_boxes.weight
    assert len(boxes) == len(expected) + 3
    assert (boxes[:, 2:] < 0.9).any() and len(boxes[:, :2].unique(dim=0)) > 1


def test_a_loss_that_is_not_finite_stops_the_run(scenes, tmp_path):
    trainer = Trainer(tiny_config(scenes, 3), tmp_path, 'cpu')
    with torch.no_grad():
        trainer.model.backbone.conv1.weight.fill_(float('nan'))
    with pytest.raises(UserError, match='loss is not finite at iteration 0'):
        trainer.run()


def test_processes_may_have_different_tasks(scenes, tmp_path):
    """Rank 0 sees only boxes, rank 1 only masks; both end with the same weights."""
    record = read_split(scenes, 'train')[0]
    image = record.image
    with Bdd100kWriter(tmp_path / 'boxes', 'train') as writer:
        labels = record.boxes
        writer.add('a', image, boxes=labels.boxes, class_ids=labels.class_ids)
    with Bdd100kWriter(tmp_path / 'masks', 'train') as writer:
        masks = {'semantic': read_mask(record.semantic), 'drivable': read_mask(record.drivable)}
        writer.add('a', image, **masks)
    config = tiny_config(tmp_path, 3).model_dump(mode='json')
    for phase in config['phases']:
        phase['batch_size'] = 2
    (tmp_path / 'config.yaml').write_text(yaml.safe_dump(config | {'data': []}))
    command = [sys.executable, '-m', 'torch.distributed.run', '--nproc-per-node', '2']
    command += ['--standalone', '-m', 'unidrive_training.cli', 'train']
    command += [str(tmp_path / 'config.yaml'), str(tmp_path / 'run'), '--device', 'cpu']
    command += ['--data', str(tmp_path / 'boxes'), '--data', str(tmp_path / 'masks')]
    subprocess.run(command, check=True, timeout=300, env=os.environ | {'OMP_NUM_THREADS': '1'})
    start = MultiTaskModel(config_of(tmp_path / 'run').model)
    state = read_checkpoint(tmp_path / 'run')
    assert state['iteration'] == 3
    for task in ('detection', 'semantic', 'drivable'):
        prefix = f'heads.{task}.'
        changed = [
            not torch.equal(value, state['model'][name])
            for name, value in start.state_dict().items()
            if name.startswith(prefix)
        ]
        assert any(changed), f'rank 0 never got the gradients of {task}'


def config_of(run):
    return load_trained_model(run)[1]


def test_rate_factors_reach_the_parameters_they_name(scenes, tmp_path):
    factors = {'backbone': 0.5, 'heads.semantic.decoder': 0.0625}
    trainer = Trainer(tiny_config(scenes, 1, rate_factors=factors), tmp_path, 'cpu')
    trainer.run()
    rates = {
        id(parameter): group['lr']
        for group in trainer.learner.optimizer.param_groups
        for parameter in group['params']
    }
    by_name = {name: rates[id(p)] for name, p in trainer.model.named_parameters()}
    full = by_name['fpn.lateral.0.weight']
    assert by_name['backbone.conv1.weight'] == full / 2
    assert by_name['heads.semantic.decoder.norm.weight'] == full / 16


def stream(scenes, **options):
    config = tiny_config(scenes, 1)
    data = TrainingData(config.data, TASKS)
    return TrainingStream(data, 6, (96, 160), config.augmentation, 0, (0, 20), **options)


def test_a_batch_depends_on_seed_and_index_alone(scenes):
    first, second = stream(scenes), stream(scenes)
    second[0]  # another order of use
    assert torch.equal(first[7][0], second[7][0])
    assert not torch.equal(first[7][0], first[8][0])


def test_processes_share_a_batch(scenes):
    """And a process takes its share in parts: it is the same batch, however it is cut."""
    whole, targets = stream(scenes)[3]
    images = [stream(scenes, rank=rank, ranks=2)[3][0] for rank in range(2)]
    assert torch.equal(torch.stack(images, 1).flatten(0, 1), whole)
    parts = [stream(scenes, parts=3)[3 * 3 + part] for part in range(3)]
    assert torch.equal(torch.stack([p[0] for p in parts], 1).flatten(0, 1), whole)
    assert torch.equal(parts[1][1].semantic[1], targets.semantic[4])


def test_an_epoch_has_every_image_once(scenes):
    """48 images, 6 at a time: a sample is told from others by its pixels."""
    plain = TrainingData(tiny_config(scenes, 1).data, TASKS)
    epochs = TrainingStream(plain, 6, (96, 160), Augmentation(), 0, (0, 16))
    first, second = (
        [image.numpy().tobytes() for i in steps for image in epochs[i][0]]
        for steps in (range(8), range(8, 16))
    )
    assert len(set(first)) == 48
    assert sorted(first) == sorted(second) and first != second


@pytest.mark.parametrize(
    ('weights', 'size', 'expected'),
    [
        ([8, 4, 3, 1], 16, [8, 4, 3, 1]),
        ([1, 1, 1], 3, [1, 1, 1]),
        ([100, 0.1], 4, [3, 1]),
        ([4, 2, 0.5], 16, [10, 5, 1]),
    ],
)
def test_batch_quotas(weights, size, expected):
    assert quotas(weights, size) == expected


def test_the_cache_is_bounded(scenes):
    small = stream(scenes, cache_gb=0.001)
    small[0], small[1]
    assert sum(sample.nbytes for sample in small._cache.values()) <= 1e6
    assert torch.equal(small[2][0], stream(scenes)[2][0])


def test_the_boxes_of_a_dataset_are_read_without_its_masks(scenes, monkeypatch):
    def unwanted(path):
        raise AssertionError(path)

    monkeypatch.setattr(sample, 'read_mask', unwanted)
    records = read_split(scenes, 'train')
    boxes = stream(scenes).data.labelled_boxes((96, 160))
    assert len(boxes) == sum((~record.boxes.crowd).sum() for record in records)
    assert (boxes[:, 2:] > 0).all() and (boxes < 1.001).all()


def test_a_run_folder_that_cannot_be_written_is_one_sentence(repo_root, scenes, tmp_path, capsys):
    (tmp_path / 'file').touch()
    run = tmp_path / 'file' / 'run'
    arguments = ['train', str(repo_root / 'config' / 'training' / 'nano.yaml'), str(run)]
    assert main([*arguments, '--device', 'cpu', '--data', str(scenes)]) == 2
    error = capsys.readouterr().err
    assert 'Not a directory' in error and str(run) in error and error.count('\n') == 1


def test_a_full_disk_is_one_sentence_and_keeps_the_last_checkpoint(scenes, tmp_path):
    trainer = Trainer(tiny_config(scenes, 1), tmp_path, 'cpu')
    trainer.run()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(UserError, match=r'checkpoint could not be written \(.*\); make room'):
            save_checkpoint(tmp_path, trainer._state(), 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert load_trained_model(tmp_path)[2]['iteration'] == 1


def test_too_many_sources_for_a_batch():
    with pytest.raises(UserError, match='batch_size 2'):
        quotas([1, 1, 1], 2)


def test_too_many_processes_for_a_batch(scenes):
    with pytest.raises(UserError, match='batch_size 6 is too small for 4 processes with 2 parts'):
        stream(scenes, ranks=4, parts=2)
