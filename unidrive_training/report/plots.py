# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Figures as SVG to be put into a page: text in the page's own colour, light or dark.

Only figures are made, never pyplot: it would look for the user's display.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib.style
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

_INK = '#010203'  # becomes the page's own colour
_PANEL = (3.9, 2.45)  # inches
_POINTS = 400  # of a curve, about as many as can be told apart
_CELLS = LinearSegmentedColormap.from_list('cells', ['#f4f7fa', '#8db8dd', '#1d5c96', '#0b2f55'])

_STYLE = {
    'svg.fonttype': 'none',
    'text.parse_math': False,  # a name with a $ is no formula
    'font.size': 9,
    'font.family': 'sans-serif',
    'axes.titlesize': 9.5,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'axes.axisbelow': True,
    'grid.alpha': 0.15,
    'legend.fontsize': 8,
    'legend.frameon': False,
    'figure.constrained_layout.use': True,
    'figure.constrained_layout.h_pad': 0.1,
    'errorbar.capsize': 3,
    **dict.fromkeys(('text.color', 'axes.edgecolor', 'axes.labelcolor', 'axes.titlecolor'), _INK),
    **dict.fromkeys(('xtick.color', 'ytick.color', 'grid.color'), _INK),
}

COLORS = ('#3b82c4', '#d9822b', '#2f9e5f', '#c2475a', '#8a63c9', '#8c6d4f', '#cf6fb3', '#7d868f',
          '#a8a82e', '#26a3b0')  # fmt: skip
"""Lines and bars in order; readable on white and on black."""


@dataclass
class Line:
    """A curve; ``raw`` (same length) is drawn faintly behind it, ``error`` as bars around it."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    color: str = COLORS[0]
    raw: Sequence[float] | None = None
    error: Sequence[float] | None = None


@dataclass
class Panel:
    """One pair of axes; ``marks``: where vertical lines stand; ``names``: of the places on x."""

    title: str
    lines: list[Line]
    log: bool = False
    marks: Sequence[float] = ()
    names: Sequence[str] = field(default_factory=list)


def svg(name: str, draw: Callable[..., Figure], *data: Any) -> Markup:
    """``draw(*data)`` as an SVG element; ``name``: what it shows, its own in the page."""
    buffer = io.StringIO()
    metadata = dict.fromkeys(('Date', 'Creator', 'Format', 'Type'))
    # Whatever is in the user's matplotlibrc; the salt makes ids that no other figure has.
    look = matplotlib.style.context(['default', _STYLE | {'svg.hashsalt': name}])
    with look, warnings.catch_warnings():
        # Of glyphs that this font lacks, but the page's has, and of names too long for a figure.
        warnings.simplefilter('ignore', UserWarning)
        draw(*data).savefig(buffer, format='svg', transparent=True, metadata=metadata)
    text = buffer.getvalue()
    text = text[text.index('<svg') :].replace(_INK, 'currentColor')
    text = re.sub(r'<g id="[^"]*"', '<g', text)  # the same in every figure, and never referred to
    text = re.sub(r'<style.*?</style>', '', text)  # it would be that of the whole page
    label = Markup.escape(name)
    return Markup(text.replace('<svg', f'<svg role="img" aria-label="{label}"', 1))


def panels(panels: Sequence[Panel], columns: int = 3) -> Figure:
    """Small axes side by side over iterations (or over ``names``)."""
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    width, height = _PANEL
    figure = Figure(figsize=(max(2, columns) * width, rows * height))
    grid = figure.subplots(rows, max(2, columns), squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    told: list[str] = []
    for axes, panel in zip(grid.flat, panels, strict=False):
        _draw(axes, panel)
        labels = [line.label for line in panel.lines]
        if len(labels) > 1 and labels != told:
            axes.legend(handlelength=1.2, labelspacing=0.25)
            told = labels
    return figure


def _draw(axes: Axes, panel: Panel) -> None:
    for line in panel.lines:
        x, y = np.asarray(line.x, float), np.asarray(line.y, float)
        shown = np.unique(np.linspace(0, len(x) - 1, min(len(x), _POINTS)).astype(int))
        if line.raw is not None:
            raw = np.asarray(line.raw, float)
            axes.plot(x[shown], raw[shown], color=line.color, alpha=0.25, linewidth=0.8)
        if line.error is not None:
            axes.errorbar(x, y, line.error, fmt='o', markersize=4, color=line.color)
        else:
            marker = 'o' if len(x) <= 12 else ''
            axes.plot(
                x[shown], y[shown], color=line.color, label=line.label, marker=marker, ms=2.5
            )
    for mark in panel.marks:
        axes.axvline(mark, color=_INK, alpha=0.5, linestyle=':', linewidth=1)
    axes.set_title(panel.title, loc='left')
    if panel.log:
        axes.set_yscale('log')
        low, high = axes.get_ylim()
        between = '25' if high < 300 * low else ''  # more would stand on one another
        axes.yaxis.set_major_formatter(FuncFormatter(_log_tick('1')))
        axes.yaxis.set_minor_formatter(FuncFormatter(_log_tick(between)))
    if panel.names:
        axes.set_xticks(range(len(panel.names)), panel.names, rotation=20, ha='right')
        axes.set_xlim(-0.5, len(panel.names) - 0.5)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f'{x:,.0f}'))


def _log_tick(digits: str) -> Callable[[float, int], str]:
    """A number for ticks whose first digit is one of ``digits``; matplotlib's are formulas."""
    return lambda value, _: f'{value:g}' if f'{value:e}'[0] in digits else ''


def precision_recall(
    precisions: Mapping[str, Sequence[float]], ap50: Mapping[str, float]
) -> Figure:
    """``class → precisions`` at evenly spaced recalls 0..1, negative where undefined."""
    figure = Figure(figsize=(6.2, 3.9))
    axes = figure.subplots()
    for index, (name, values) in enumerate(precisions.items()):
        y = np.asarray(values, float)
        y = np.where(y > 0, y, np.nan)  # COCO has 0 where a recall was never reached
        label = f'{name} {ap50[name]:.3f}' if name in ap50 else name
        color = COLORS[index % len(COLORS)]
        axes.plot(np.linspace(0, 1, len(y)), y, color=color, label=label)
    axes.set(xlabel='recall', ylabel='precision', xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(title='AP50', loc='center left', bbox_to_anchor=(1.0, 0.5), alignment='left')
    return figure


def confusion(shares: np.ndarray, truth: Sequence[str], predicted: Sequence[str]) -> Figure:
    """(T, P) shares 0..1 of each true class (row) that were predicted as each class."""
    rows, columns = shares.shape
    figure = Figure(figsize=(1.9 + 0.42 * columns, 1.3 + 0.3 * rows))
    axes = figure.subplots()
    axes.pcolormesh(shares, cmap=_CELLS, vmin=0, vmax=1, edgecolors='#ffffff', linewidth=0.5)
    axes.grid(False)
    axes.invert_yaxis()
    for row, column in np.argwhere(shares >= 0.005):
        value = shares[row, column]
        color = '#ffffff' if value > 0.45 else '#12202e'
        where = (column + 0.5, row + 0.5)
        axes.text(*where, f'{value:.0%}'[:-1], ha='center', va='center', color=color, fontsize=8)
    axes.set_yticks(np.arange(rows) + 0.5, truth)
    axes.set_xticks(np.arange(columns) + 0.5, predicted, rotation=45, ha='left')
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(ylabel='truth, % of each row')
    return figure


def bars(values: Mapping[str, Mapping[str, float]]) -> Figure:
    """``metric → {class: 0..1}``: for each class a bar of every metric, with its number."""
    classes = list(dict.fromkeys(name for row in values.values() for name in row))
    thick = 0.8 / len(values)
    figure = Figure(figsize=(5.4, 0.8 + len(classes) * max(0.24, 0.15 * len(values))))
    axes = figure.subplots()
    for index, (metric, row) in enumerate(values.items()):
        y = np.arange(len(classes)) + (index - (len(values) - 1) / 2) * thick
        x = np.nan_to_num([row.get(name, np.nan) for name in classes])
        drawn = axes.barh(y, x, thick * 0.92, color=COLORS[index % len(COLORS)], label=metric)
        texts = [f'{row[name]:.3f}' if name in row else '' for name in classes]
        axes.bar_label(drawn, texts, padding=3, fontsize=7)
    axes.set_yticks(range(len(classes)), classes)
    axes.set_ylim(len(classes) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.grid(False, axis='y')
    if len(values) > 1:
        axes.legend(loc='lower left', bbox_to_anchor=(0, 1), ncols=len(values))
    return figure
