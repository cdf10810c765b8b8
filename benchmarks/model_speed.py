# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""UniDrive's three tasks in one model against one published model per task, on this CPU.

    python3 benchmarks/model_speed.py [--sparse-rcnn CHECKOUT] [--threads 2] [--repeats 7]

One image of 384×640, all ResNet-50 with random weights: MaskFormer of Hugging Face (19 classes,
and again 3), the official Sparse R-CNN (300 proposals, 10 classes), and the model of ``--config``.
They take turns (A B C A B C …), and the medians are printed as Markdown: a forward pass up to
class maps of 384×640 and 300 boxes, and a training step (forward, the model's own losses,
backward, fused AdamW without clipping), in float32 and under bfloat16 autocast; then what
UniDrive's time goes into. All have the same image, the same 10 boxes, 12 and 3 masks, and what
their training trains: Sparse R-CNN freezes batch norms, stem and first stage; its input and ours
is normalised within the measured time, MaskFormer's before it. By default Hugging Face's has a
loss for its last layer only. Ours and the official one have losses for all six layers (deep
supervision); in the last column Hugging Face's has its auxiliary losses too (seven in all).

The peers, in a virtual environment of their own beside UniDrive (the C++ part of detectron2 is
not needed, nor anything from a network when the benchmark runs):

    pip install transformers==4.57.6 fvcore iopath omegaconf yacs pycocotools cloudpickle \\
        termcolor tabulate scipy
    git clone https://github.com/facebookresearch/detectron2      # measured: 02b5c4e2
    git clone https://github.com/PeizeSun/SparseR-CNN             # measured: 0e5028da
    PYTHONPATH=.:detectron2 python3 benchmarks/model_speed.py --sparse-rcnn SparseR-CNN

A peer that is absent leaves its row and the ratios empty.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch
import torchvision
from torch import Tensor, nn

from unidrive_perception.labels import BDD100K_LABELS
from unidrive_training.config import load_config
from unidrive_training.models.backbones.base import IMAGENET_MEAN, IMAGENET_STD
from unidrive_training.models.maskformer import MaskFormerHead
from unidrive_training.models.multitask import MultiTaskModel
from unidrive_training.models.targets import BoxTarget, Targets

CONFIG = Path(__file__).resolve().parents[1] / 'config/training/self_training_resnet50.yaml'
SIZE = (384, 640)
BOXES, SEMANTIC_MASKS, DRIVABLE_MASKS = 10, 12, 3
WARM_UP = 2  # repeats that do not count
LEARNING_RATE = 1e-6  # small: the weights are random, and the work is the same
FORWARD, STEP, DEEP_STEP = 'forward', 'training step', 'step, MaskFormer deeply supervised'
POST = 'post-processing'
OURS = 'UniDrive, three tasks'
PRECISIONS = ('float32', 'bfloat16')
Parts = dict[str, float]  # what → seconds, in the order of its first happening
Runs = dict[tuple[str, str], list[Parts]]  # (contender, action) → one entry per repeat


class Timeline:
    """Splits the time since :meth:`start` into named parts."""

    def start(self) -> None:
        """Forget everything and start the first part."""
        self.parts: Parts = defaultdict(float)
        self._last = time.perf_counter()

    def end(self, part: str) -> None:
        """Say what the time since the last call went into."""
        now = time.perf_counter()
        self.parts[part] += now - self._last
        self._last = now


class Contender:
    """A model with its data; each of ``actions`` runs it once and tells ``timeline`` the parts.

    A subclass has ``predict()`` (input to final outputs) and ``loss()`` (weighted sum).
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.timeline = Timeline()
        self.size = f'{sum(parameter.numel() for parameter in model.parameters()) / 1e6:.2f} M'
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, fused=True)
        self.actions: dict[str, Callable[[bool], None]] = {FORWARD: self.forward, STEP: self.step}

    def forward(self, bfloat16: bool) -> None:
        """Predict as a user would."""
        self.model.eval()
        with torch.inference_mode(), torch.autocast('cpu', torch.bfloat16, enabled=bfloat16):
            self.predict()

    def step(self, bfloat16: bool) -> None:
        """One training step."""
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast('cpu', torch.bfloat16, enabled=bfloat16):
            loss = self.loss()
        self.timeline.end('other')
        loss.backward()
        self.timeline.end('backbone backward')  # what ends last; the others end before
        self.optimizer.step()
        self.timeline.end('optimizer')


class MaskFormer(Contender):
    """Hugging Face's, in its default configuration on a ResNet-50."""

    def __init__(self, image: Tensor, label: Tensor, classes: int) -> None:
        import transformers as hf

        backbone = hf.ResNetConfig(out_features=['stage1', 'stage2', 'stage3', 'stage4'])
        config = hf.MaskFormerConfig.from_backbone_and_decoder_configs(
            backbone, hf.DetrConfig(), num_labels=classes
        )
        super().__init__(hf.MaskFormerForInstanceSegmentation(config))
        self.actions[DEEP_STEP] = self.deep_step
        self.processor = hf.MaskFormerImageProcessor()
        normalised = (image.float() - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
        self.image = normalised.permute(2, 0, 1)[None].contiguous()
        present = label.unique()
        self.masks = [(label == present[:, None, None]).float()]
        self.classes = [present.long()]

    def predict(self) -> None:
        """Class map of the image."""
        outputs = self.model(self.image)
        self.timeline.end('network')
        self.processor.post_process_semantic_segmentation(outputs, target_sizes=[SIZE])
        self.timeline.end(POST)

    def loss(self) -> Tensor:
        """Class, mask and dice losses."""
        return self.model(self.image, mask_labels=self.masks, class_labels=self.classes).loss

    def deep_step(self, bfloat16: bool) -> None:
        """One training step with losses for all layers of the decoder."""
        # 4.57.6 loses the layers' outputs unless they are asked for.
        auxiliary = {'use_auxiliary_loss': True, 'output_hidden_states': True}
        with mock.patch.multiple(self.model.config, **auxiliary):
            self.step(bfloat16)


class SparseRCNN(Contender):
    """The official one, from a checkout and an importable detectron2."""

    def __init__(self, image: Tensor, truth: BoxTarget, checkout: Path | None) -> None:
        if not checkout:
            raise ImportError('no --sparse-rcnn CHECKOUT')
        from detectron2.config import get_cfg
        from detectron2.structures import Boxes, Instances

        project = checkout / 'projects/SparseRCNN'
        sys.path.insert(0, str(project))
        # It reads version 0.26 of torchvision as 0.2, and works around what 0.2 lacked.
        with mock.patch.object(torchvision, '__version__', '0.9'):
            import sparsercnn

        config = get_cfg()
        sparsercnn.add_sparsercnn_config(config)
        config.merge_from_file(str(project / 'configs/sparsercnn.res50.300pro.3x.yaml'))
        config.MODEL.SparseRCNN.NUM_CLASSES = len(BDD100K_LABELS['detection'])
        config.MODEL.DEVICE = 'cpu'
        super().__init__(sparsercnn.SparseRCNN(config))
        instances = Instances(SIZE, gt_boxes=Boxes(truth.boxes), gt_classes=truth.class_ids)
        self.batch = [{'image': image.permute(2, 0, 1).contiguous(), 'instances': instances}]
        choose = self.model.inference

        def inference(*arguments: object) -> object:
            self.timeline.end('network')
            return choose(*arguments)

        self.model.inference = inference

    def predict(self) -> None:
        """Boxes, scores and classes of the image."""
        self.model(self.batch)
        self.timeline.end(POST)

    def loss(self) -> Tensor:
        """The losses of all stages."""
        return sum(self.model(self.batch).values())


class UniDrive(Contender):
    """Ours, all tasks in one pass, in the memory format that the trainer uses (channels last)."""

    def __init__(self, config: Path, image: Tensor, targets: Targets) -> None:
        model = MultiTaskModel(load_config(config).model)
        super().__init__(model.to(memory_format=torch.channels_last))
        self.images, self.targets = image[None], targets
        self._watch(model.backbone, 'forward', 'backbone')
        self._watch(model.fpn, 'forward', 'FPN', gradient='FPN backward')
        for task, head in model.heads.items():
            self._watch(head, 'predict', f'{task} {POST}', 'other')
            self._watch(head, 'losses', f'{task} matching and losses', 'other', f'{task} backward')
            self._watch(head, 'forward', f'{task} head')
            if isinstance(head, MaskFormerHead):  # its losses use the parts, not the whole
                self._watch(head.decoder, 'forward', f'{task} head')
                self._watch(head.pixel_decoder, 'forward', f'{task} head')
                self._watch(
                    head.pixel_decoder,
                    'mask_logits',
                    f'{task} head',
                    f'{task} matching and losses',
                )

    def predict(self) -> None:
        """Boxes and class maps of the image."""
        self.model.predict(self.images)
        self.timeline.end('other')

    def loss(self) -> Tensor:
        """The losses of all tasks."""
        return sum(self.model.losses(self.images, self.targets).values())

    def _watch(
        self, part: nn.Module, method: str, name: str, before: str = '', gradient: str = ''
    ) -> None:
        """Let ``part.method`` tell the timeline when it ends, what the time ``before`` it went
        into, and when its inputs, a list of maps, have their gradients: autograd goes backwards.
        """
        original = getattr(part, method)

        def watched(*arguments: object, **options: object) -> object:
            if gradient and torch.is_grad_enabled():
                maps = [x.view_as(x) for x in arguments[0]]
                for x in maps:
                    if x.requires_grad:
                        x.register_hook(lambda _: self.timeline.end(gradient))
                arguments = (maps, *arguments[1:])
            if before:
                self.timeline.end(before)
            result = original(*arguments, **options)
            self.timeline.end(name)
            return result

        setattr(part, method, watched)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--sparse-rcnn', type=Path, help='checkout of PeizeSun/SparseR-CNN')
    parser.add_argument('--config', type=Path, default=CONFIG, help='of our model')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--repeats', type=int, default=7)
    parser.add_argument('--precision', nargs='+', choices=PRECISIONS, default=PRECISIONS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    contenders = build(options)
    for precision in options.precision:
        runs = measure(contenders, options.repeats, precision == 'bfloat16')
        print(
            f'\n### {precision}\n\nMedians of {options.repeats}, {options.threads} threads, torch'
        )
        print(f'{torch.__version__}, load {os.getloadavg()[0]:.1f} (these threads included)\n')
        print_comparison(contenders, runs)
        for action in (FORWARD, STEP):
            print_parts(action, runs[OURS, action])


def build(options: argparse.Namespace) -> dict[str, Contender | None]:
    """Name → contender, ours last; None and a note where a peer is not installed."""
    image = torch.randint(0, 256, (*SIZE, 3), dtype=torch.uint8)
    targets = make_targets()
    truth, semantic, drivable = (targets.of(task)[0] for task in BDD100K_LABELS)
    checkout = options.sparse_rcnn
    peers = {
        'MaskFormer-R50, 19 classes (Hugging Face)': (MaskFormer, image, semantic, 19),
        'MaskFormer-R50, 3 classes (Hugging Face)': (MaskFormer, image, drivable, 3),
        'Sparse R-CNN-R50, 300 proposals (official)': (SparseRCNN, image, truth, checkout),
    }
    contenders: dict[str, Contender | None] = {}
    for name, (kind, *arguments) in peers.items():
        try:
            contenders[name] = kind(*arguments)
        except ImportError as error:
            print(f'{name} is left out: {error}; the head of this file says how to get it')
            contenders[name] = None
    return contenders | {OURS: UniDrive(options.config, image, targets)}


def make_targets() -> Targets:
    """Labels of one image: boxes anywhere, classes in tiles; no pixel is ignored."""
    height, width = SIZE
    corner = torch.rand(BOXES, 2) * 0.7
    boxes = torch.cat((corner, corner + 0.02 + torch.rand(BOXES, 2) * 0.28), 1)
    boxes *= torch.tensor([width, height, width, height])
    annotated = torch.ones(len(BDD100K_LABELS['detection']), dtype=torch.bool)
    truth = BoxTarget(boxes, torch.randint(0, len(annotated), (BOXES,)), annotated)
    return Targets({0: truth}, {0: tiles(3, SEMANTIC_MASKS // 3)}, {0: tiles(1, DRIVABLE_MASKS)})


def tiles(rows: int, columns: int) -> Tensor:
    """(H, W) uint8 label map of ``rows`` times ``columns`` equal tiles, each another class."""
    height, width = SIZE
    row = torch.arange(height) * rows // height
    column = torch.arange(width) * columns // width
    return (row[:, None] * columns + column).to(torch.uint8)


def measure(contenders: dict[str, Contender | None], repeats: int, bfloat16: bool) -> Runs:
    """Run everything in turn."""
    runs: Runs = defaultdict(list)
    actions = [
        (name, action)
        for action in (FORWARD, STEP, DEEP_STEP)
        for name, contender in contenders.items()
        if contender and action in contender.actions
    ]
    for repeat in range(WARM_UP + repeats):
        for name, action in actions:
            timeline = contenders[name].timeline
            timeline.start()
            contenders[name].actions[action](bfloat16)
            if repeat >= WARM_UP:
                runs[name, action].append(timeline.parts)
    return runs


def seconds(runs: list[Parts], statistic: Callable, without: str = 'nothing') -> float | None:
    """Of a run, not counting the parts with ``without`` in their names."""
    totals = [sum(parts[part] for part in parts if without not in part) for parts in runs]
    return statistic(totals) if totals else None


def column_values(runs: Runs, name: str, statistic: Callable) -> list[float | None]:
    """Seconds of a contender, for each column of the comparison."""
    forward, step = runs[name, FORWARD], runs[name, STEP]
    return [
        seconds(forward, statistic),
        seconds(forward, statistic, without=POST),
        seconds(step, statistic),
        seconds(runs[name, DEEP_STEP] or step, statistic),
    ]


def print_comparison(contenders: dict[str, Contender | None], runs: Runs) -> None:
    """Seconds of all, the sum of the peers, and ours as a part of that sum."""
    print(f'| seconds | parameters | {FORWARD} | without {POST} | {STEP} | {DEEP_STEP} |')
    print('| --- | --- | --- | --- | --- | --- |')
    for name, contender in contenders.items():
        size = contender.size if contender else '–'
        print_row(f'{name} | {size}', column_values(runs, name, statistics.median))
    for statistic in (statistics.median, min):  # the fastest suffer least from other programs
        *peers, ours = (column_values(runs, name, statistic) for name in contenders)
        sums = [None if None in column else sum(column) for column in zip(*peers, strict=True)]
        print_row(f'sum of the peers, {statistic.__name__} |', sums)
        ratios = [a / b if b else None for a, b in zip(ours, sums, strict=True)]
        print_row(f'**UniDrive : sum**, {statistic.__name__} |', ratios)


def print_row(head: str, values: list[float | None]) -> None:
    """Print a row of the comparison."""
    cells = ['–' if value is None else f'{value:.3f}' for value in values]
    print(f'| {head} | {" | ".join(cells)} |', flush=True)


def print_parts(action: str, runs: list[Parts]) -> None:
    """The parts of our time in milliseconds and as shares."""
    parts = {part: statistics.median(run[part] for run in runs) for part in runs[0]}
    total = sum(parts.values())
    print(f'\n| {OURS}: {action} | ms | share |\n| --- | --- | --- |')
    for part, seconds in parts.items():
        print(f'| {part} | {seconds * 1e3:.1f} | {seconds / total:.1%} |')


if __name__ == '__main__':
    main()
