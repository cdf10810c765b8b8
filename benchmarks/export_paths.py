# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The ways to run the default bundle's network on CPU and GPU, side by side.

    python3 benchmarks/export_paths.py [--threads 2] [--rounds 15] [--images FOLDER]

Every path is a process of its own; they take turns (A B C A B C …), one image and then four in
one call, with a pause in which threads of the last one come to rest. "Speed-up" is the median over
the rounds of ONNX Runtime's time divided by the path's, one image each; "CPU" adds up its threads
(on a machine with other work it says more); "of four" is the time of that call divided by four.
The first result counts from the start of the process: imports, loading, compiling. Memory is what
the process holds after the runs.

The torch paths need the model in Python, which a bundle is not: they run the same architecture
(``config/training/nano.yaml``) with random weights, which take as long. Differences are those to
ONNX Runtime with the same weights in float32: the largest of a score, and the share of semantic
pixels of another class. The int8 program is made here from the bundle's: convolutions only, one
scale per channel, ranges from 24 images. Paths of OpenVINO need ``pip install openvino``,
torch.compile and AOTInductor a C++ compiler. Images are generated scenes unless given.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from network_paths import PATHS, RANDOM, REFERENCE, Programs, Run, onnx_runtime, random_model
from tqdm import tqdm

from unidrive_perception.bundle import Bundle
from unidrive_perception.errors import UserError
from unidrive_perception.geometry import Letterbox

SIZES = (1, 4)
COMPARED = 8  # images
CALIBRATED = 24
PAUSE = 0.06  # seconds: threads of ONNX Runtime spin so long


def serve(pipe, path: str, programs: Programs, image: np.ndarray, started: float) -> None:
    """The process of one path: say when the first result was there, then answer with runs."""
    warnings.simplefilter('ignore')
    # Nothing compiled before may be found, or the first result comes too early.
    os.environ['TORCHINDUCTOR_CACHE_DIR'] = str(programs.folder / f'inductor{os.getpid()}')
    os.environ['OMP_WAIT_POLICY'] = 'PASSIVE'  # as ONNX Runtime: threads of torch wait asleep
    try:
        run = PATHS[path](programs)
        run(image)
    except Exception as error:
        pipe.send(f'{type(error).__name__}: {" ".join(str(error).split())[:150]}')
        return
    pipe.send(time.perf_counter() - started)
    while (images := pipe.recv()) is not None:
        wall, cpu = time.perf_counter(), time.process_time()
        outputs = run(images)
        seconds = time.perf_counter() - wall, time.process_time() - cpu
        pipe.send((seconds, outputs, memory()))


def memory() -> int:
    """Bytes of RAM of this process."""
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE')


class Contender:
    """One path in its process; ``seconds``: batch size → wall and CPU time of each round."""

    def __init__(self, path: str, programs: Programs, image: np.ndarray) -> None:
        self.path, self.programs = path, programs
        self.seconds: dict[int, list[tuple[float, float]]] = {size: [] for size in SIZES}
        context = multiprocessing.get_context('spawn')
        self.pipe, theirs = context.Pipe()
        arguments = (theirs, path, programs, image, time.perf_counter())
        self.process = context.Process(target=serve, args=arguments, daemon=True)
        self.process.start()
        theirs.close()
        said = self.pipe.recv()
        self.problem = said if isinstance(said, str) else ''
        self.first = None if self.problem else said

    def run(self, images: np.ndarray) -> tuple[tuple[float, float], dict[str, np.ndarray]]:
        """Seconds of wall and of CPU time, and outputs, of one call."""
        self.pipe.send(images)
        try:
            seconds, outputs, self.memory = self.pipe.recv()
        except EOFError:
            raise SystemExit(f'{self.path}: failed at {len(images)} images, see above') from None
        time.sleep(PAUSE)
        return seconds, outputs

    def close(self) -> None:
        """End the process."""
        if not self.problem:
            self.pipe.send(None)
        self.process.join()

    def differences(self, images: np.ndarray, references: dict[bool, Run]) -> tuple[float, float]:
        """Largest difference of a score, and the share of semantic pixels that differ."""
        expected = references[self.path in RANDOM]
        pairs = [(self.run(image[None])[1], expected(image[None])) for image in images]
        scores = max(np.abs(one['scores'] - two['scores']).max() for one, two in pairs)
        return scores, float(np.mean([one['semantic'] != two['semantic'] for one, two in pairs]))

    def row(self, reference: Contender, differences: tuple[float, float]) -> str:
        """Of the table."""
        (one, cpu), (four, _) = (np.array(self.seconds[size]).T * 1e3 / size for size in SIZES)
        speed = np.median(np.array(reference.seconds[1])[:, 0] * 1e3 / one)
        return (
            f'| {self.path} | {np.median(one):.1f} / {np.percentile(one, 90):.1f} | {speed:.2f} '
            f'| {np.median(cpu):.1f} | {np.median(four):.1f} | {self.first:.1f} '
            f'| {self.memory / 1e6:.0f} '
            f'| {differences[0]:.1g} | {differences[1]:.2%} |'
        )


def read_images(folder: Path | None, size: tuple[int, int]) -> np.ndarray:
    """(CALIBRATED, H, W, 3) network inputs."""
    if folder is None:
        from unidrive_training.scenes import Drive

        pictures = [Drive(seed).frame(0).image for seed in range(CALIBRATED)]
    else:
        import cv2

        files = sorted(f for f in folder.rglob('*') if f.suffix in ('.jpg', '.png'))
        files = files[:: max(1, len(files) // CALIBRATED)][:CALIBRATED]
        if len(files) < COMPARED:
            raise SystemExit(f'--images {folder}: has fewer than {COMPARED} .jpg or .png')
        pictures = [cv2.imread(str(file))[..., ::-1] for file in files]
    return np.stack([Letterbox(rgb.shape[:2], size).apply_image(rgb) for rgb in pictures])


def quantize(programs: Programs, images: np.ndarray) -> None:
    """Write the int8 program."""
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.rest = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.rest, None)
            return None if image is None else {'images': image[None]}

    source, prepared = Bundle.load(programs.bundle).program_path, programs.folder / 'prepared.onnx'
    quantization.quant_pre_process(source, prepared, skip_symbolic_shape=True)
    quantization.quantize_static(
        prepared, programs.int8, Reader(), op_types_to_quantize=['Conv'], per_channel=True
    )


def measure(options: argparse.Namespace, programs: Programs) -> list[str]:
    """Rows of the table."""
    spec = Bundle.load(programs.bundle).manifest.input
    images = read_images(options.images, (spec.height, spec.width))
    chosen = [path for path in PATHS if path == REFERENCE or path in (options.only or PATHS)]
    references = {False: onnx_runtime(programs)}
    if any('int8' in path for path in chosen):
        quantize(programs, images)
    if any(path in RANDOM for path in chosen):
        from unidrive_training.export import export_program

        export_program(random_model(), (spec.height, spec.width), programs.random)
        references[True] = onnx_runtime(programs, programs.random)
    contenders = [Contender(path, programs, images[:1]) for path in tqdm(chosen, desc='start')]
    running = [contender for contender in contenders if not contender.problem]
    differences = [contender.differences(images[:COMPARED], references) for contender in running]
    for size in SIZES:  # the first run of a size may compile
        for contender in running:
            contender.run(images[:size])
    for _ in tqdm(range(options.rounds), desc='rounds'):
        for size in SIZES:
            for contender in running:
                contender.seconds[size].append(contender.run(images[:size])[0])
    rows = [c.row(running[0], d) for c, d in zip(running, differences, strict=True)]
    rows += [f'| {c.path} | {c.problem} | | | | | | | |' for c in contenders if c.problem]
    for contender in contenders:
        contender.close()
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--rounds', type=int, default=15)
    parser.add_argument('--only', nargs='+', choices=PATHS, metavar='PATH', help='some paths')
    parser.add_argument('--images', type=Path, help='folder of photographs')
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            rows = measure(options, Programs(options.threads, Path(folder)))
        except UserError as error:
            raise SystemExit(str(error)) from None
    print(
        '| path | one image, ms (median / p90) | speed-up | CPU, ms | of four, ms per image '
        '| first result, s | memory, MB | score differs | pixels differ |\n'
        '| --- | --- | --- | --- | --- | --- | --- | --- | --- |'
    )
    print('\n'.join(rows))


if __name__ == '__main__':
    main()
