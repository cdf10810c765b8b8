# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What ``benchmarks/node.py`` says of a node that is not its model, from known times."""

import argparse
from types import SimpleNamespace

import pytest

from unidrive_perception.node.diagnostics import STAGES


@pytest.fixture
def benchmark(monkeypatch, repo_root):
    monkeypatch.syspath_prepend(repo_root / 'benchmarks')
    import node

    return node


def run(benchmark, rate, latency_ms, inference_ms=40.0, batch_size=1, relay=False):
    """Ten images in a second."""
    times = {f'{stage}_ms': 1.0 for stage in STAGES} | {'inference_ms': inference_ms}
    timings = [] if relay else [SimpleNamespace(batch_size=batch_size, **times)] * 10
    known = benchmark.Run(argparse.Namespace(), 1, 'raw', rate, relay)
    known.latencies, known.timings = [latency_ms] * 10, timings
    known.seconds, known.sent, known.started = 1.0, 10, 2.0
    return known


def test_what_no_stage_tells_is_in_both_differences(benchmark, capsys):
    runs = [
        run(benchmark, rate, latency_ms, relay=relay)
        for relay, latency_ms in ((True, 3.0), (False, 55.0))
        for rate in (0.0, 10.0)
    ]
    benchmark.print_rates(runs)
    head, _, relay, node = (
        line[2:-2].split(' | ') for line in capsys.readouterr().out.split('\n')[:4]
    )
    assert head[-2:] == ['1/rate − inference', "p50 − inference − relay's p50"]
    assert node[-2:] == ['60.0 ms', '12.0 ms']  # 100 - 40, 55 - 40 - 3
    assert [cell.strip() for cell in relay[-2:]] == ['', '']
    assert len(head) == len(relay) == len(node)
    benchmark.print_stages(runs[2:])
    assert '| stages but inference |' in (said := capsys.readouterr().out)
    assert said.count('| 5.00 ms |\n') == 2


def test_an_image_of_a_batch_has_a_share_of_inference_but_waits_for_all_of_it(benchmark):
    batched = run(benchmark, 0.0, 55.0, inference_ms=40.0, batch_size=4)
    assert benchmark.beside_inference_ms(batched) == pytest.approx(90.0)
    assert benchmark.added_ms(batched, run(benchmark, 0.0, 3.0, relay=True)) == pytest.approx(12.0)


def test_a_process_that_ends_early_is_shown_with_its_last_words(benchmark, monkeypatch):
    def process(log, *arguments):
        log.write_text('Traceback: no model')
        return SimpleNamespace(is_running=False, log=log.read_text(), stop=lambda: None)

    pytest.importorskip('rclpy')
    options = argparse.Namespace(model='x', threads=0, parameters=[], outputs=['detections'])
    monkeypatch.setattr(benchmark, 'Process', process)
    silent = benchmark.Run(options, 1, 'raw', 0.0)
    picture = benchmark.picture(argparse.Namespace(size='64x48', image=None))
    with pytest.raises(SystemExit, match=r'perception_node .* ended:\nTraceback: no model'):
        benchmark.measure(silent, picture)
