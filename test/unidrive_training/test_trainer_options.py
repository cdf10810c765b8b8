# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What a training config can choose: lengths, rates, precision, parts, scores on the way."""

import json
import shutil
from functools import partial, partialmethod

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_training import tiny_config

from unidrive_perception.errors import UserError
from unidrive_training.cli import main
from unidrive_training.config import Phase, TrainingConfig
from unidrive_training.data.bdd100k import Bdd100kWriter, read_mask, read_split
from unidrive_training.data.sources import read_held_out
from unidrive_training.engine import results
from unidrive_training.engine.checkpoint import load_trained_model, read_checkpoint
from unidrive_training.engine.optimizer import learning_rate
from unidrive_training.engine.results import write_beginning, write_end
from unidrive_training.engine.run_lock import only_one
from unidrive_training.engine.trainer import Trainer
from unidrive_training.engine.validation import Validation

PHASE = {'input_size': [96, 160], 'iterations': 1000, 'batch_size': 4, 'learning_rate': 1.0}


def phase(**settings):
    return Phase.model_validate(PHASE | settings)


def test_a_phase_lasts_iterations_or_epochs():
    assert phase().length(50) == 1000
    assert phase(iterations=None, epochs=1.5).length(50) == 19  # 75 images, 4 at a time
    for wrong in ({'epochs': 1}, {'iterations': None}):
        with pytest.raises(ValueError, match='give either iterations or epochs'):
            phase(**wrong)


@pytest.mark.parametrize(
    ('decay', 'rates'),
    [
        ('constant', {100: 1, 999: 1}),
        ('steps', {100: 1, 777: 1, 778: 0.1, 925: 0.1, 926: 0.01}),
        ('cosine', {100: 1, 550: 0.51, 1000: 0.02}),
        ('poly', {500: 0.5**0.9, 750: 0.25**0.9}),
    ],
)
def test_learning_rates(decay, rates):
    one = phase(decay=decay, warmup=100)
    assert learning_rate(one, 0, 1000) == pytest.approx(0.01)
    before = 0.01 * 0.5 + 0.5  # half of the warm-up
    assert learning_rate(one, 50, 1000) == pytest.approx(
        before * (0.95**0.9 if decay == 'poly' else 1)
    )
    for step, rate in rates.items():
        assert learning_rate(one, step, 1000) == pytest.approx(rate)


def without_noise(scenes, iterations, **settings):
    """Nothing differs between parts of a batch but the images: batch norm is frozen."""
    config = tiny_config(scenes, iterations, precision='float32', **settings)
    head = config.model.heads['detection'] | {'denoising': 0}
    heads = config.model.heads | {'detection': head}
    model = config.model.model_copy(update={'heads': heads})
    phases = [one.model_copy(update={'tuning': 'head'}) for one in config.phases]
    return config.model_copy(update={'model': model, 'phases': phases})


def test_parts_of_a_batch_add_up_to_it(scenes, tmp_path):
    """Whatever the images of a part are labelled with: every divisor is of the whole batch."""
    states = []
    for parts in (1, 3):
        trainer = Trainer(without_noise(scenes, 2, accumulate=parts), tmp_path / str(parts), 'cpu')
        trainer.run()
        states.append(trainer.model.state_dict())
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=2e-3, atol=2e-5, msg=name)


def test_float16_is_scaled(scenes, tmp_path):
    """A scale at which gradients overflow is halved, and the step is left out."""
    config = tiny_config(scenes, 3, precision='float16')  # which CPUs are slow at
    trainer = Trainer(config, tmp_path, 'cpu')
    trainer.learner.scaler = torch.amp.GradScaler('cpu', init_scale=2.0**60, growth_interval=100)
    weight = trainer.model.backbone.conv1.weight
    before, scales, moved = weight.detach().clone(), [], []
    for _ in trainer._steps():
        scales.append(trainer.learner.scaler.get_scale())
        moved.append(not torch.equal(weight, before))
        trainer.learner.scaler.update(1.0)
    assert scales == [2.0**59, 1.0, 1.0]
    assert moved == [False, True, True]
    trainer._save()
    assert Trainer(config, tmp_path, 'cpu').learner.scaler.get_scale() == 1.0


@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
def test_every_precision_learns(scenes, tmp_path, precision):
    trainer = Trainer(tiny_config(scenes, 12, precision=precision), tmp_path, 'cpu')
    trainer.run()
    events = EventAccumulator(str(tmp_path / 'tensorboard'))
    events.Reload()
    values = [event.value for event in events.Scalars('loss/total')]
    assert values[-1] < values[0]


def test_compiled_parts_have_the_same_losses(scenes, tmp_path, monkeypatch):
    """Traced, but for the minute that the generation of C++ takes."""
    without_code = partialmethod(torch.nn.Module.compile, backend='aot_eager')
    monkeypatch.setattr(torch.nn.Module, 'compile', without_code)
    losses = []
    for compiled in (False, True):
        config = without_noise(scenes, 1, compile=compiled)
        trainer = Trainer(config, tmp_path / str(compiled), 'cpu')
        terms = [step.terms for _, step in trainer._steps()]
        losses.append(terms[0]['total'])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.fixture(scope='module')
def watched(scenes, tmp_path_factory):
    """A run that is scored on the way, with all it leaves."""
    folder = tmp_path_factory.mktemp('watched') / 'run'
    settings = {'validation': [str(scenes)], 'evaluate_every': 2, 'checkpoint_every': 3}
    config = tiny_config(scenes, 5, **settings)
    trainer = Trainer(config, folder, 'cpu')
    write_beginning(folder, config)
    trainer.run()
    write_end(trainer)
    return folder


def test_scores_on_the_way(watched):
    metrics = json.loads((watched / 'metrics.json').read_text())
    assert [entry['iteration'] for entry in metrics['history']] == [2, 4, 5]
    assert set(metrics['scores']['scenes']) == {'detection', 'semantic', 'drivable'}
    assert metrics['facts']['iterations'] == 5 and metrics['facts']['seed'] == 0
    assert metrics['facts']['versions']['torch'] == torch.__version__.split('+')[0]


def test_the_best_checkpoint_is_the_one_that_scored_best(watched):
    history = json.loads((watched / 'metrics.json').read_text())['history']

    def value(entry):
        tasks = entry['scores']['scenes']
        names = {'detection': 'ap50', 'semantic': 'mean_iou', 'drivable': 'mean_iou'}
        return sum(tasks[task][name] for task, name in names.items())

    best = max(history, key=value)
    assert load_trained_model(watched / 'best.pt')[2]['iteration'] == best['iteration']


def test_what_tensorboard_shows(watched):
    events = EventAccumulator(str(watched / 'tensorboard'))
    events.Reload()
    tags = events.Tags()
    wanted = {'loss/total', 'loss/detection', 'loss/semantic/mask', 'learning_rate'}
    wanted |= {'gradient_norm', 'gradient_norm/backbone', 'stage/finetune/total', 'phase'}
    wanted |= {'speed/images_per_second', 'speed/data_seconds', 'memory/gb'}
    wanted |= {f'validation/scenes/{task}/mean_iou' for task in ('semantic', 'drivable')}
    assert wanted <= set(tags['scalars'])
    assert [event.step for event in events.Images('pictures/0')] == [3, 5]
    picture = events.Images('pictures/0')[0]
    assert picture.width == 4 * 160 and picture.height == 96


@pytest.mark.parametrize('last', ['metrics.json', 'report.html'])
def test_a_run_killed_while_its_results_were_written_writes_them(watched, tmp_path, last):
    run = tmp_path / 'run'
    shutil.copytree(watched, run)
    (run / last).unlink()
    arguments = ['train', str(run / 'config.yaml'), str(run), '--device', 'cpu']
    assert main(arguments) == 0
    ours, theirs = (json.loads((f / 'metrics.json').read_text()) for f in (run, watched))
    assert ours['scores'] == theirs['scores'] and ours['history'] == theirs['history']
    assert (run / 'report.html').exists()


def held_out(scenes, root):
    """The first two held-out images, below a folder."""
    with Bdd100kWriter(root, 'val') as writer:
        for record in read_split(scenes, 'val')[:2]:
            labels = {'semantic': read_mask(record.semantic)}
            writer.add(record.name, record.image, drivable=read_mask(record.drivable), **labels)
    return root


def test_an_evaluation_that_fails_costs_neither_steps_nor_scores(scenes, tmp_path, monkeypatch):
    """And folders of one name keep their scores and pictures apart."""
    folders = [str(held_out(scenes, tmp_path / name / 'streets')) for name in 'ab']
    settings = {'validation': folders, 'evaluate_every': 2, 'checkpoint_every': 2}
    config = tiny_config(scenes, 3, **settings)
    run, failing = Validation.run, [2, 3]

    def fail_once(self, predictor, iteration):
        if iteration in failing:
            failing.remove(iteration)
            raise UserError('this evaluation fails')
        return run(self, predictor, iteration)

    monkeypatch.setattr(Validation, 'run', fail_once)
    for iteration in (2, 3):
        with pytest.raises(UserError, match='this evaluation fails'):
            Trainer(config, tmp_path / 'run', 'cpu').run()
        assert read_checkpoint(tmp_path / 'run')['iteration'] == iteration
    (tmp_path / 'run' / 'best.pt').unlink()
    trainer = Trainer(config, tmp_path / 'run', 'cpu')
    trainer.validation.best = -1  # the last is the best
    trainer.run()
    assert load_trained_model(tmp_path / 'run' / 'best.pt')[2]['iteration'] == 3
    monkeypatch.setattr(results, 'write_report', lambda folder: folder / 'report.html')
    write_end(trainer)
    text = (tmp_path / 'run' / 'metrics.json').read_text()
    metrics = json.loads(text)
    assert [entry['iteration'] for entry in metrics['history']] == [2, 3]
    for entry in (metrics, *metrics['history']):
        assert list(entry['scores']) == ['a-streets', 'b-streets']
    assert str(tmp_path) not in text
    for name in metrics['scores']:
        assert len(list((tmp_path / 'run' / 'worst' / name / 'drivable').iterdir())) == 2


def test_broken_validation_images_are_found_at_the_start(scenes, tmp_path):
    root = held_out(scenes, tmp_path / 'streets')
    image = sorted((root / 'images' / '100k' / 'val').iterdir())[0]
    image.write_bytes(image.read_bytes()[:5000])
    settings = {'validation': [str(root)]}
    with pytest.raises(UserError, match=f'{image.name}: cut off.* of 1 broken .* images of val'):
        Trainer(tiny_config(scenes, 1, **settings), tmp_path / 'run', 'cpu')
    settings['broken'] = 'skip'
    trainer = Trainer(tiny_config(scenes, 1, **settings), tmp_path / 'run', 'cpu')
    trainer.validation.run(trainer.predictor(), 0)
    assert trainer.validation.scores['streets']['drivable']['images'] == 1
    with pytest.raises(UserError, match='no image of val has a label of detection; leave'):
        read_held_out(root, ['detection'], 'skip')


def test_a_run_leaves_its_config_environment_and_page(watched):
    config = (watched / 'config.yaml').read_text()
    assert 'evaluate_every: 2' in config and 'schedule: joint' in config
    environment = json.loads((watched / 'environment.json').read_text())
    assert environment['seed'] == 0 and environment['machine']['cores'] >= 1
    assert '<html' in (watched / 'report.html').read_text()[:200].lower()


@pytest.mark.parametrize(
    ('key', 'value', 'wrong'),
    [
        ('clip_norm', -1, 'greater than 0'),
        ('weight_decay', float('nan'), 'finite number'),
        ('workers', True, 'not yes or no'),
        ('task_epochs', {'semantic': 2}, 'task_epochs is for schedule weighted'),
        ('augmentation', {'short_sides': []}, 'at least 1 item'),
        ('augmentation', {'scale': [2, 0.5]}, 'smaller one first'),
        ('augmentation', {'flip': 7}, 'less than or equal to 1'),
    ],
)
def test_settings_out_of_range(scenes, key, value, wrong):
    with pytest.raises(ValueError, match=wrong):
        tiny_config(scenes, 1, **{key: value})


def test_a_rate_factor_that_names_nothing(scenes, tmp_path, capsys):
    """It may be of a head that another config of the same base has, so it is no error."""
    factors = {'backbnoe': 0.1, 'backbone': 0.5}
    Trainer(tiny_config(scenes, 1, rate_factors=factors), tmp_path, 'cpu')
    told = capsys.readouterr().out
    assert "no parameter has 'backbnoe'" in told and "'backbone'" not in told


def test_one_training_at_a_time_in_a_folder(scenes, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        'unidrive_training.engine.run_lock.only_one', partial(only_one, patience=0)
    )
    (tmp_path / 'a.yaml').write_text(
        yaml.safe_dump(tiny_config(scenes, 1).model_dump(mode='json'))
    )
    with only_one(tmp_path / 'run'):
        assert main(['train', str(tmp_path / 'a.yaml'), str(tmp_path / 'run')]) == 2
    assert 'another command is at work here' in capsys.readouterr().err


def test_a_run_does_not_go_on_with_other_data(scenes, tmp_path):
    data = tmp_path / 'data'
    shutil.copytree(scenes, data)
    config = tiny_config(data, 2)
    Trainer(config, tmp_path / 'run', 'cpu').run()
    next((data / 'labels/drivable/masks/train').iterdir()).unlink()
    with pytest.raises(UserError, match='its checkpoint was trained with other data; restore'):
        Trainer(config, tmp_path / 'run', 'cpu')


def test_a_gradient_that_is_not_finite_spoils_no_weight(scenes, tmp_path, monkeypatch):
    trainer = Trainer(tiny_config(scenes, 2), tmp_path, 'cpu')
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    parameter = trainer.model.fpn.lateral[0].weight
    parameter.register_hook(lambda gradient: gradient * float('inf'))
    with pytest.raises(UserError, match=r'not finite at iteration 0 .*gradient (inf|nan)'):
        trainer.run()
    assert all(
        torch.equal(value, before[name]) for name, value in trainer.model.named_parameters()
    )


def test_the_paper_is_the_default(scenes):
    model = tiny_config(scenes, 1).model.model_dump(mode='json')
    config = TrainingConfig.model_validate({'name': 'x', 'model': model})
    adapt, finetune = config.phases
    assert (adapt.tuning, adapt.epochs, adapt.learning_rate) == ('adapt', 1, 2.5e-4)
    assert (finetune.epochs, finetune.learning_rate, finetune.decay) == (35, 2.5e-5, 'steps')
    assert finetune.warmup == 1000 and finetune.warmup_factor == 0.01
    assert config.weight_decay == 1e-4 and config.ema_decay == 0
    assert config.augmentation.short_sides == (720, 600) and config.augmentation.flip == 0


def test_settings_that_contradict_each_other(scenes):
    with pytest.raises(ValueError, match='evaluate_every needs validation'):
        tiny_config(scenes, 1, evaluate_every=5)
    values = tiny_config(scenes, 1).model_dump(mode='json') | {'schedule': 'uniform'}
    values['data'][0]['pseudo'] = str(scenes)
    with pytest.raises(ValueError, match='schedule uniform uses true labels only'):
        TrainingConfig.model_validate(values)
