# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive export``: a checkpoint as the bundle that the node runs."""

from __future__ import annotations

import argparse
import json
import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from scipy.optimize import linear_sum_assignment

from unidrive_perception.bundle import (
    Bundle,
    InputSpec,
    Manifest,
    ProgramSpec,
    TaskSpec,
    write_manifest,
)
from unidrive_perception.errors import UserError
from unidrive_perception.geometry import DEFAULT_FILL
from unidrive_perception.labels import BDD100K_LABELS
from unidrive_training.aside import new_folder
from unidrive_training.config import TrainingConfig
from unidrive_training.engine.checkpoint import load_trained_model
from unidrive_training.models.multitask import MultiTaskModel
from unidrive_training.typed import read_json

PROGRAM = 'model.onnx'
_OPSET = 18


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument('run', type=Path, help='run folder of `unidrive train`')
    parser.add_argument('out', type=Path, help='new bundle folder')
    parser.add_argument(
        '--scores',
        type=Path,
        help='JSON of `unidrive evaluate` (--json, or metrics.json of --out)',
    )


def run(args: argparse.Namespace) -> int:
    """Export, check the program against the model, and write the bundle in one step."""
    if args.out.exists():
        raise UserError(f'{args.out} exists; give a new folder or delete it')
    scores = _read_scores(args.scores) if args.scores else {}
    model, config, facts = load_trained_model(args.run)
    model.fold()
    with new_folder(args.out) as partial:
        export_program(model, config.input_size, partial / PROGRAM)
        check_program(model, config.input_size, partial / PROGRAM)
        write_manifest(partial, _manifest(model, config, facts, scores, partial / PROGRAM))
        Bundle.load(partial)
    print(f'bundle → {args.out}')
    return 0


def _read_scores(path: Path) -> dict[str, dict]:
    scores = read_json(path, 'give the JSON of `unidrive evaluate` to --scores')
    return scores.get('scores', scores)  # of metrics.json, which holds more


def export_program(model: MultiTaskModel, input_size: tuple[int, int], path: Path) -> None:
    """Write the model as ONNX: ``images`` (N, H, W, 3) uint8 in, the tasks' predictions out."""
    example = torch.zeros(2, *input_size, 3, dtype=torch.uint8)
    with torch.no_grad():
        names = list(model(example))
    for talkative in ('torch.onnx', 'onnxscript'):
        logging.getLogger(talkative).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        program = torch.onnx.export(
            model,
            (example,),
            input_names=['images'],
            output_names=names,
            opset_version=_OPSET,
            dynamic_shapes={'images': {0: torch.export.Dim('batch', min=1, max=64)}},
            dynamo=True,
            verbose=False,
        )
    program.save(path)
    _strip_metadata(path)


def _strip_metadata(path: Path) -> None:
    """Remove the stack traces, with paths of this machine, that the exporter leaves at nodes."""
    program = onnx.load(path)
    graph = program.graph
    parts = [program, graph, *graph.node, *graph.initializer, *graph.value_info]
    for part in [*parts, *graph.input, *graph.output]:
        del part.metadata_props[:]
    onnx.save(program, path)


def check_program(model: MultiTaskModel, input_size: tuple[int, int], path: Path) -> None:
    """Compare the program with the model on a random image; UserError when they disagree."""
    images = torch.randint(0, 256, (1, *input_size, 3), dtype=torch.uint8)
    expected = {name: value.numpy() for name, value in model.predict(images).items()}
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    names = [output.name for output in session.get_outputs()]
    actual = dict(zip(names, session.run(None, {'images': images.numpy()}), strict=True))
    for task in ('semantic', 'drivable'):
        if task in expected and np.mean(expected[task] != actual[task]) > 1e-4:
            raise UserError(f'exported program disagrees with the model on {task}; file a bug')
    if 'scores' in expected and not same_detections(expected, actual):
        raise UserError('exported program disagrees with the model on detections; file a bug')


def same_detections(expected: dict[str, np.ndarray], actual: dict[str, np.ndarray]) -> bool:
    """Whether every detection has its own like: score within 1e-4, box within 0.01 pixels, class
    the same. Near-equal scores leave their order open, and which of them are the last in the list.
    """
    (scores, boxes, ids), (scores_, boxes_, ids_) = (
        [values[name][0] for name in ('scores', 'boxes', 'class_ids')]
        for values in (expected, actual)
    )
    alike = np.abs(scores[:, None] - scores_) < 1e-4
    alike &= (np.abs(boxes[:, None] - boxes_) < 0.01).all(-1) & (ids[:, None] == ids_)
    rows, columns = linear_sum_assignment(alike, maximize=True)
    without = ~alike[rows, columns]
    return np.allclose(scores, scores_, atol=1e-4) and (scores[without] < scores[-1] + 1e-4).all()


def _manifest(
    model: MultiTaskModel,
    config: TrainingConfig,
    facts: dict[str, object],
    scores: dict[str, dict],
    program: Path,
) -> Manifest:
    height, width = config.input_size
    tasks = {
        task: TaskSpec(BDD100K_LABELS[task], config.score_threshold, config.duplicate_iou)
        if task == 'detection'
        else TaskSpec(BDD100K_LABELS[task])
        for task in model.heads
    }
    return Manifest(
        name=config.name,
        input=InputSpec(height, width, model.backbone.mean, model.backbone.std, DEFAULT_FILL),
        tasks=tasks,
        program=ProgramSpec.of_file(program),
        training={'config': _without_paths(config), **facts},
        metrics=scores,
    )


def _without_paths(config: TrainingConfig) -> dict[str, object]:
    """The config as plain data; of files and folders only their names, not where they lay."""
    text = json.dumps(config.model_dump(), default=lambda path: path.name)
    return json.loads(text, object_hook=lambda values: {k: _name(v) for k, v in values.items()})


def _name(value: object) -> object:
    """A setting, too, is a name or a file."""
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
