# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""6,000 broken bundles: a bundle that is right or one line, in bounded time and memory.

Takes about 15 s on one core.
"""

from __future__ import annotations

from pathlib import Path

import fuzz_bundles
import pytest
from fuzzing import run_cases

from unidrive_perception.bundle import MANIFEST, Bundle, BundleError


@pytest.mark.parametrize(
    ('kind', 'count'), [('bytes', 3000), ('values', 2000), ('tables', 500), ('program', 500)]
)
def test_no_bundle_crashes_hangs_or_executes_anything(kind, count):
    said = run_cases(fuzz_bundles.__file__, kind, seed=1, count=count, timeout=300)
    assert sum(said['outcomes'].values()) == count
    assert min(said['outcomes'].values()) > count / 20, said  # both outcomes are tried
    assert said['peak_mb'] < 200 and said['grown_mb'] < 16


@pytest.mark.parametrize('text', fuzz_bundles.HOSTILE)
def test_hostile_yaml_is_one_line(text, tmp_path):
    (tmp_path / MANIFEST).write_bytes(text.encode(errors='surrogatepass'))
    with pytest.raises(BundleError) as caught:
        Bundle.load(tmp_path)
    assert str(caught.value).isprintable()
    assert not (Path.cwd() / 'executed').exists()
