# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Batch norm with the statistics of all processes on the CPU; PyTorch's works on GPUs only."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce


class CpuSyncBatchNorm(nn.BatchNorm2d):
    """What ``nn.SyncBatchNorm`` computes, from sums over the processes."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), normalised; B may differ between the processes."""
        if not self.training or not dist.is_initialized():
            return super().forward(x)
        values = x.float()
        dims = [0, *range(2, x.dim())]
        count = values.new_full((1,), x.numel() / x.shape[1])
        sums = all_reduce(torch.cat((values.sum(dims), count)))
        mean, total = sums[:-1] / sums[-1], sums[-1].item()
        shape = (1, -1, *[1] * (x.dim() - 2))
        centred = values - mean.view(shape)
        variance = all_reduce(centred.square().sum(dims)) / total
        self._track(mean.detach(), variance.detach(), total)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale.view(shape) + self.bias.view(shape)).to(x.dtype)

    def _track(self, mean: Tensor, variance: Tensor, count: float) -> None:
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)


def for_cpu(module: nn.Module) -> nn.Module:
    """The module, with every ``nn.SyncBatchNorm`` in it replaced by one that works on the CPU."""
    if isinstance(module, nn.SyncBatchNorm):
        new = CpuSyncBatchNorm(module.num_features, module.eps, module.momentum)
        new.load_state_dict(module.state_dict())
        return new
    for name, child in module.named_children():
        setattr(module, name, for_cpu(child))
    return module
