# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The comparisons of docs/experiments.md: what each part of the method adds on street_mini.

::

    export UNIDRIVE_DATA=...
    python3 benchmarks/experiments.py OUT run --seeds 0 1 2 --jobs 2     # goes on where it stopped
    python3 benchmarks/experiments.py OUT table
    python3 benchmarks/experiments.py OUT plot docs/images/experiments.svg

``run`` first makes data, pretrained weights, teachers, pseudo-labels and a student (``unidrive
run`` with config/training/street_mini.yaml), then trains every variant with every seed, the same
number of steps each. Seed by seed, so that what is there can always be compared.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import yaml

from unidrive_perception.labels import BDD100K_LABELS
from unidrive_training.config import merged
from unidrive_training.evaluation.metrics_file import read_metrics
from unidrive_training.models.language.feature_files import write_text_features

REPO = Path(__file__).parents[1]
EXPERIMENT = REPO / 'config' / 'training' / 'street_mini.yaml'
UNIDRIVE = [sys.executable, '-m', 'unidrive_training.cli']
SEEDS = 10  # the most that are looked for
SCORED = ('camvid', 'idd', 'kitti')

CLIP = {'backbone': {'name': 'clip_rn50', 'layers': [1, 1, 1, 1], 'width': 32, 'heads': 16}}
CLIP_ITERATIONS = 1200  # of its pretraining
TEXT = {'source': 'file', 'path': '{out}/text_features.safetensors'}
FASTER = {
    'heads': {
        'detection': {
            'name': 'faster_rcnn',
            'channels': 256,
            'anchor_sizes': [8, 16, 32, 64, 128],
            'canonical_size': 112.0,
            'training_proposals': 500,
            'proposals': 200,
            'score_threshold': 0.01,
        },
        'semantic': {'name': 'semantic_fpn', 'channels': 64, 'groups': 16, 'output_stride': 2},
        'drivable': {'name': 'semantic_fpn', 'channels': 64, 'groups': 16, 'output_stride': 2},
    }
}


class Variant(NamedTuple):
    """A way to train. ``of``: the config it changes; ``plan``: tuning of its one phase, or
    ``adapt`` for the two of the student; ``start``: what comes from the pretraining.
    """

    group: str
    name: str
    of: str = 'student'
    plan: str = 'adapt'
    change: dict[str, Any] | None = None
    start: Literal['weights', 'backbone'] = 'weights'


VARIANTS = [
    *[
        Variant('teachers', f'teacher_{task}', f'teachers/{task}', 'as is')
        for task in BDD100K_LABELS
    ],
    Variant('schedules', 'joint', plan='finetune'),
    *[
        Variant('schedules', name, plan='finetune', change={'schedule': name})
        for name in ('zeroing', 'uniform', 'weighted', 'round-robin')
    ],
    Variant('stages', 'adapt_finetune'),
    Variant('stages', 'joint_from_backbone', plan='finetune', start='backbone'),
    Variant('stages', 'adapt_finetune_from_backbone', start='backbone'),
    *[
        Variant('adapters', name, change={'model': {'adapter': {'name': name}}})
        for name in ('pre', 'post', 'pre_scalar', 'pre_vector')
    ],
    Variant('language', 'l2v', change={'model': {'language': {'name': 'l2v', 'text': TEXT}}}),
    Variant(
        'language', 'prompt', change={'model': {'language': {'name': 'class_maps', 'text': TEXT}}}
    ),
    Variant('language', 'clip_none', of='student_clip'),
    Variant(
        'language',
        'clip_l2v',
        of='student_clip',
        change={'model': {'language': {'name': 'l2v', 'text': TEXT}}},
    ),
    Variant(
        'language',
        'clip_v2l',
        of='student_clip',
        change={'model': {'language': {'name': 'post_prompting', 'text': TEXT}}},
    ),
    Variant('heads', 'conv_heads', change={'model': FASTER}, start='backbone'),
    Variant(
        'pro_tuning', 'prompt_blocks', plan='prompt-blocks', change={'model': {'prompts': {}}}
    ),
    Variant('pro_tuning', 'head_only', plan='head'),
    Variant('pro_tuning', 'partial_1', plan='partial-1'),
    Variant('pro_tuning', 'partial_2', plan='partial-2'),
]

# What the variants of a group are compared with, where it is one of another group.
REFERENCES = {
    'stages': 'joint',
    'adapters': 'adapt_finetune',
    'language': 'adapt_finetune',
    'heads': 'adapt_finetune_from_backbone',
    'pro_tuning': 'joint',
}

# Rows of COCO's classes in the file of CLIP features, by our names. Of what COCO does not know
# (road, sky, ...) there is no feature: those texts are the mean of all, which says "a thing".
COCO = {
    'pedestrian': 0, 'person': 0, 'rider': 0, 'bicycle': 1, 'car': 2, 'motorcycle': 3, 'bus': 5,
    'train': 6, 'truck': 7, 'traffic light': 9, 'traffic sign': 11, 'vegetation': 58,
}  # fmt: skip


def main() -> None:
    """Run one action."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('out', type=Path)
    actions = parser.add_subparsers(dest='action', required=True)
    runs = actions.add_parser('run')
    runs.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    runs.add_argument('--only', nargs='+', help='groups or variants, e.g. schedules l2v')
    runs.add_argument('--jobs', type=int, default=2, help='trainings at once, a core each')
    runs.add_argument('--set', nargs='*', default=[], help='KEY=VALUE for `unidrive run`')
    actions.add_parser('table')
    plots = actions.add_parser('plot')
    plots.add_argument('file', type=Path)
    options = parser.parse_args()
    if options.action == 'run':
        run(options)
    elif options.action == 'table':
        print(table(options.out))
    else:
        plot(options.out, options.file)


def run(options: argparse.Namespace) -> None:
    """Make what is shared, then train the variants."""
    out = options.out.resolve()
    call([*UNIDRIVE, 'run', EXPERIMENT, out, *options.set])
    write_texts(out / 'text_features.safetensors')
    chosen = [v for v in VARIANTS if not options.only or {v.group, v.name} & {*options.only}]
    clip = write_clip_configs(out)
    wanted = any(variant.of == 'student_clip' for variant in chosen)
    if wanted and not (out / 'pretrain_clip' / 'metrics.json').exists():
        call([*UNIDRIVE, 'train', clip, out / 'pretrain_clip', '--device', 'cpu'])
    jobs = [(variant, seed) for seed in options.seeds for variant in chosen]
    failed = False
    with ThreadPoolExecutor(options.jobs) as pool:
        for result in pool.map(lambda job: train(out, *job), jobs):
            print(result, flush=True)
            failed |= 'FAILED' in result
    if failed:
        sys.exit(1)


def call(command: list) -> None:
    """Run a command; an error ends it all."""
    subprocess.run(list(map(str, command)), check=True)


def read_config(out: Path, name: str) -> dict[str, Any]:
    """A complete training config that `unidrive run` wrote."""
    return yaml.safe_load((out / 'configs' / f'{name}.yaml').read_text())


def write_config(out: Path, name: str, values: dict[str, Any]) -> Path:
    """Write another beside it."""
    path = out / 'configs' / f'{name}.yaml'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def write_clip_configs(out: Path) -> Path:
    """Pretraining and student with a small CLIP ResNet, whose attention pool V2L needs."""
    for name in ('pretrain', 'student'):
        values = merged(read_config(out, name), {'model': CLIP}) | {'name': f'{name}_clip'}
        if name == 'pretrain':
            values['phases'][0]['iterations'] = CLIP_ITERATIONS
        write_config(out, f'{name}_clip', values)
    return out / 'configs' / 'pretrain_clip.yaml'


def config_of(out: Path, variant: Variant, seed: int) -> dict[str, Any]:
    """The complete training config."""
    values = read_config(out, variant.of)
    change = yaml.safe_load(yaml.safe_dump(variant.change or {}).replace('{out}', str(out)))
    values = merged(values, change)
    values |= {'name': variant.name, 'seed': seed, 'log_every': 25, 'checkpoint_every': 10000}
    values['validation'] = [str(out / 'data' / name) for name in SCORED]
    if variant.start == 'backbone':
        values['pretrained']['backbone'] = {'format': 'unidrive', 'file': str(out / 'pretrain')}
    if variant.plan not in ('adapt', 'as is'):
        total = sum(phase['iterations'] for phase in values['phases'])
        values['phases'] = [values['phases'][-1] | {'tuning': variant.plan, 'iterations': total}]
    if values.get('schedule', 'joint') != 'joint':  # true labels only
        labelled = [
            s for s in values['data'] if Path(s['root']).name not in ('nuscenes', 'udacity')
        ]
        values['data'] = [source | {'pseudo': None} for source in labelled]
    return values


def run_folder(out: Path, variant: Variant, seed: int) -> Path:
    """Where a variant is trained; what changes nothing, `unidrive run` has trained."""
    made = variant.of == 'student' or variant.group == 'teachers'
    same = variant.plan in ('adapt', 'as is') and not variant.change and variant.start == 'weights'
    if made and same and seed == read_config(out, variant.of)['seed']:
        return out / variant.of
    return out / 'runs' / f'{variant.name}-seed{seed}'


def train(out: Path, variant: Variant, seed: int) -> str:
    """Train a variant unless it is trained; a line of what came of it."""
    folder = run_folder(out, variant, seed)
    if (folder / 'metrics.json').exists():
        return f'{folder.name}: there'
    config = write_config(out, f'runs/{folder.name}', config_of(out, variant, seed))
    log = out / 'logs' / f'{folder.name}.log'
    log.parent.mkdir(exist_ok=True)
    started = time.monotonic()
    init = out / ('pretrain_clip' if variant.of.endswith('clip') else 'pretrain')
    more = ['--init', str(init)] if variant.start == 'weights' else []
    with log.open('w') as file:
        status = subprocess.run(
            [*UNIDRIVE, 'train', str(config), str(folder), '--device', 'cpu', *more],
            stdout=file, stderr=subprocess.STDOUT, env=os.environ | {'OMP_NUM_THREADS': '1'},
        ).returncode  # fmt: skip
    outcome = 'done' if status == 0 else f'FAILED, see {log}'
    return f'{folder.name}: {outcome} in {time.monotonic() - started:.0f} s'


def write_texts(path: Path) -> None:
    """Real CLIP RN50 features of "a {class}" for the names that COCO has."""
    source = Path(os.environ['UNIDRIVE_DATA']) / 'clip_text_embeddings'
    rows = np.load(source / 'coco_clip_RN50_a+cname.npy').astype(np.float32)
    names = list(dict.fromkeys(n for table in BDD100K_LABELS.values() for n in table.names))
    features = [rows[COCO[name]] if name in COCO else rows.mean(0) for name in names]
    write_text_features(path, names, np.stack(features))


METRICS = {  # heading → dataset, task, metric, factor
    'semantic mIoU': ('camvid', 'semantic', 'mean_iou', 100),
    'drivable IoU': ('idd', 'drivable', 'drivable_iou', 100),
    'AP50': ('camvid', 'detection', 'ap50', 100),
    'AP': ('camvid', 'detection', 'ap', 100),
}


def rows() -> list[tuple[str, str, list[Variant]]]:
    """Group, label and variants of every row; the three teachers share one, since each is scored
    on its own task only. A group begins with what it is compared with.
    """
    found = []
    for group in dict.fromkeys(variant.group for variant in VARIANTS):
        members = [variant for variant in VARIANTS if variant.group == group]
        if group == 'teachers':
            found.append((group, 'single-task teachers', members))
            continue
        reference = [v for v in VARIANTS if v.name == REFERENCES.get(group)]
        found += [(group, variant.name, [variant]) for variant in reference + members]
    return found


def values_of(out: Path, variants: list[Variant]) -> tuple[dict[str, list[float]], int, float]:
    """Values of every metric over the seeds that are there, how many, and mean minutes."""
    found: dict[str, list[float]] = {heading: [] for heading in METRICS}
    minutes, seeds = [], set()
    for variant in variants:
        for seed in range(SEEDS):
            folder = run_folder(out, variant, seed)
            if not (folder / 'metrics.json').exists():
                continue
            metrics = read_metrics(folder)
            seeds.add(seed)
            minutes.append(metrics['facts']['seconds'] / 60)
            for heading, (dataset, task, metric, factor) in METRICS.items():
                value = metrics['scores'].get(dataset, {}).get(task, {}).get(metric)
                if value is not None:
                    found[heading].append(factor * value)
    return found, len(seeds), statistics.fmean(minutes) if minutes else 0.0


def table(out: Path) -> str:
    """Markdown, a table per group; mean ± standard deviation over the seeds."""
    lines, last = [], None
    for group, label, variants in rows():
        if group != last:
            last = group
            lines += [f'\n**{group}**\n', '| | ' + ' | '.join(METRICS) + ' | seeds | minutes |']
            lines.append('| --- ' * (len(METRICS) + 3) + '|')
        found, seeds, minutes = values_of(out, variants)
        cells = [text(found[heading]) for heading in METRICS]
        lines.append(f'| {label} | ' + ' | '.join(cells) + f' | {seeds} | {minutes:.1f} |')
    return '\n'.join(lines)


def text(values: list[float]) -> str:
    """A cell."""
    if not values:
        return '–'
    if len(values) == 1:
        return f'{values[0]:.1f}'
    return f'{statistics.fmean(values):.1f} ± {statistics.stdev(values):.1f}'


def plot(out: Path, file: Path) -> None:
    """A bar per variant and metric, the seeds as points on it."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    shown = [row for row in rows() if values_of(out, row[2])[1]]
    headings = list(METRICS)[:3]
    figure, axes = pyplot.subplots(1, 3, figsize=(13, 0.32 * len(shown) + 1), sharey=True)
    groups = list(dict.fromkeys(group for group, _, _ in shown))
    colors = pyplot.get_cmap('tab10').colors
    for axis, heading in zip(axes, headings, strict=True):
        for row, (group, _, variants) in enumerate(shown):
            values = values_of(out, variants)[0][heading]
            if values:
                color = colors[groups.index(group)]
                axis.barh(row, statistics.fmean(values), color=color, alpha=0.55)
                axis.plot(values, [row] * len(values), 'k.', markersize=4)
        axis.set_title(heading)
        axis.grid(axis='x', alpha=0.3)
    axes[0].set_yticks(range(len(shown)), [f'{group}: {label}' for group, label, _ in shown])
    axes[0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(file)


if __name__ == '__main__':
    main()
