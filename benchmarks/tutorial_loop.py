"""The loop of "What is torch.nn really?" as its last section has it, to measure and to compare against."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import nn


def loss_batch(model, loss_func, xb, yb, opt=None):  # type: ignore[no-untyped-def]
    loss = loss_func(model(xb), yb)
    if opt is not None:
        loss.backward()
        opt.step()
        opt.zero_grad()
    return loss.item(), len(xb)


def fit(
    epochs: int,
    model: nn.Module,
    loss_func: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    opt: torch.optim.Optimizer,
    train_dl: Iterable[tuple[torch.Tensor, torch.Tensor]],
    valid_dl: Iterable[tuple[torch.Tensor, torch.Tensor]],
) -> list[float]:
    history = []
    for epoch in range(epochs):
        model.train()
        for xb, yb in train_dl:
            loss_batch(model, loss_func, xb, yb, opt)
        model.eval()
        with torch.no_grad():
            losses, nums = zip(*[loss_batch(model, loss_func, xb, yb) for xb, yb in valid_dl], strict=True)
        history.append(float(np.sum(np.multiply(losses, nums)) / np.sum(nums)))
        print(epoch, history[-1])
    return history
