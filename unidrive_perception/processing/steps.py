# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""From the settings to the finished bag: plan, predict, merge; nothing is done twice."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import onnxruntime
from tqdm import tqdm

from unidrive_perception.bags.reader import BagError, BagWriter
from unidrive_perception.bundle import Bundle
from unidrive_perception.processing.cameras import Camera
from unidrive_perception.processing.chart import draw_chart
from unidrive_perception.processing.merge import merge
from unidrive_perception.processing.plan import (
    Plan,
    Settings,
    Shard,
    differences,
    identity,
    make_shards,
    shares,
)
from unidrive_perception.processing.shards import Record, Share
from unidrive_perception.processing.summary import PLOT, SUMMARY, Outcome, summary
from unidrive_perception.processing.tally import Tally
from unidrive_perception.processing.work_folder import WorkFolder
from unidrive_perception.processing.workers import predict_shares
from unidrive_perception.sources import SourceError, open_source

FRAMES_PER_PROCESS = 20
"""Fewer are not worth the start of another process."""


JOBS_OF_A_GPU = 4
"""Each has a copy of the model there; what keeps them busy is decoding and writing."""


class Stopped(Exception):
    """The user has stopped the work; the sentence says how to go on."""


def make_bag(
    settings: Settings, out: Path, storage: str, jobs: int = 0, threads: int = 0
) -> dict[str, Any]:
    """Write the bag ``out``; returns its ``summary.json``. 0 ``jobs``, ``threads``: as fits.

    Where ``out`` is what the same settings have made of the same input, nothing is done. Raises
    UserError, and Stopped for Ctrl-C and SIGTERM.
    """
    bundle, work = Bundle.load(settings.model), WorkFolder(out)
    settings = _with_cameras(settings)
    job = identity(settings, bundle.manifest, storage)
    with work.hold():
        if out.exists():
            content = _finished(out, job)
            work.discard()
            return content
        plan = work.read_plan(job)
        if plan is None:
            plan = _new_plan(settings)
            work.write_plan(job, plan)
        task = _Task(work, settings, bundle, storage, job, plan)
        try:
            return task.do(jobs, threads)
        except KeyboardInterrupt:
            raise Stopped(task.how_to_go_on()) from None


@dataclass
class _Task:
    """All that is known before the work starts."""

    work: WorkFolder
    settings: Settings
    bundle: Bundle
    storage: str
    job: dict[str, str]
    plan: Plan

    def do(self, jobs: int, threads: int) -> dict[str, Any]:
        """Do what is left to do; returns the summary."""
        finished = self.work.finished(self.plan.shards)
        missing = [shard for shard in self.plan.shards if shard not in finished]
        cores = _cores()
        jobs = min(jobs or _default_jobs(self.settings.device, missing), max(1, len(missing)))
        threads = threads or max(1, cores // jobs)
        start = time.monotonic()
        self._predict(finished, missing, jobs, threads)
        predicted = time.monotonic()
        frames = sum(shard.count for shard in missing)
        run = {
            'jobs': jobs,
            'threads': threads,
            'frames': frames,
            'seconds': round(predicted - start, 3),
            'frames_per_second': round(frames / (predicted - start), 3),
            'frames_of_earlier_runs': sum(shard.count for shard in finished),
        }
        return self._merge(run)

    def _predict(
        self, finished: Sequence[Shard], missing: Sequence[Shard], jobs: int, threads: int
    ) -> None:
        done, total = (sum(shard.count for shard in some) for some in (finished, self.plan.shards))
        parts = [
            Share(self.work.out, self.settings, part, threads) for part in shares(missing, jobs)
        ]
        with tqdm(
            total=total, initial=done, desc='predict', unit='frame', dynamic_ncols=True
        ) as progress:
            predict_shares(parts, progress.update)

    def _merge(self, run: dict[str, Any]) -> dict[str, Any]:
        folders = [self.work.shard(shard) for shard in self.plan.shards]
        outcome = Outcome.of([Record.load(folder) for folder in folders], self.plan.damage)
        if not outcome.processed:
            self.work.discard()
            raise _no_frame(self.settings, outcome)
        start = time.monotonic()
        with (
            BagWriter(
                self.work.merged / self.work.out.name, self.storage, compress=True
            ) as writer,
            tqdm(
                total=outcome.processed, desc='merge', unit='frame', dynamic_ncols=True
            ) as progress,
        ):
            tally = merge(folders, self.settings, self.bundle, writer, progress.update)
            run['merge_seconds'] = round(time.monotonic() - start, 3)
            labels = self.bundle.labels
            content = summary(self.job, self.settings, labels, outcome, tally, run)
            _write_summary(writer.unfinished, content, outcome, tally)
        self.work.finish()
        return content

    def how_to_go_on(self) -> str:
        """Say what was reached and how to go on."""
        finished, planned = len(self.work.finished(self.plan.shards)), len(self.plan.shards)
        if not finished:
            return 'stopped before the first part was finished; nothing is kept'
        return (
            f'stopped: {finished} of {planned} parts are finished and kept in '
            f'{self.work.path}; give the same command again to go on'
        )


def _with_cameras(settings: Settings) -> Settings:
    """Open the input to see that it can be read, and find its only camera where none was named."""
    with open_source(settings.input, settings.topics, settings.fps) as source:
        named = settings.cameras or [Camera(source.topic)]
        cameras = zip(source.topics, named, strict=True)
        return replace(settings, cameras=tuple(Camera(topic, c.name) for topic, c in cameras))


def _new_plan(settings: Settings) -> Plan:
    with (
        open_source(settings.input, settings.topics, settings.fps) as source,
        tqdm(total=source.count, desc='plan', unit='frame', dynamic_ncols=True) as progress,
    ):
        shards = make_shards(_ticking(source.positions(), progress))
        if not shards:
            raise _no_frame(settings, Outcome(damage=source.damage))
        return Plan(shards, source.damage)


def _ticking(numbers: Iterator[int], progress: tqdm) -> Iterator[int]:
    for number in numbers:
        progress.update()
        yield number


def _no_frame(settings: Settings, outcome: Outcome) -> SourceError:
    reason = ''
    if outcome.bad:
        number, _, stamp_ns, why = outcome.bad[0]
        reason = f': frame {number} (recorded at {stamp_ns} ns): {why}'
    elif outcome.damage:
        reason = f': {outcome.damage}'
    topics = ', '.join(settings.topics)
    return SourceError(f'there is no frame on {topics} that can be read{reason}')


def _write_summary(folder: Path, content: dict[str, Any], outcome: Outcome, tally: Tally) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False)
    (folder / SUMMARY).write_text(text + '\n', encoding='utf-8')
    job, frames = content['job'], content['frames']
    title = f'{Path(job["input"]).name}: {frames["processed"]} frames, {frames["bad"]} bad'
    chart = draw_chart(f'{title}; model {job["model"]}', tally, outcome.times)
    cv2.imwrite(str(folder / PLOT), cv2.cvtColor(chart, cv2.COLOR_RGB2BGR))


def _finished(out: Path, job: Mapping[str, str]) -> dict[str, Any]:
    """Return the summary of finished results; BagError where ``out`` is not that of the job."""
    try:
        content = json.loads((out / SUMMARY).read_text(encoding='utf-8'))
        what = differences(content['job'], job)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise BagError(f'{out} exists already: remove it or choose another name') from None
    if what:
        raise BagError(
            f'{out} holds the results of another command ({what}): give that command again to '
            f'keep them, or remove the folder, or choose another name'
        )
    return content


def _cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()


def _default_jobs(device: str, missing: Sequence[Shard]) -> int:
    """One process per core is faster than fewer processes with more threads each."""
    frames = sum(shard.count for shard in missing)
    has_cuda = 'CUDAExecutionProvider' in onnxruntime.get_available_providers()
    on_cpu = device in ('cpu', 'openvino-bfloat16') or not has_cuda
    most = _cores() if on_cpu else min(_cores(), JOBS_OF_A_GPU)
    return max(1, min(most, frames // FRAMES_PER_PROCESS))
