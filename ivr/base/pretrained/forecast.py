"""How long a pretrained model takes on this machine, said before any of it begins.

Nearly all of the time goes into products of matrices, so it is enough to know how many a stage does and how fast this
machine does them. That is measured, in about a second, on a matrix of the model's width.
"""

import os
import time
from dataclasses import dataclass

THREADS = 2  # what the stages use unless told otherwise
SHARE = 0.6  # of the speed measured that a whole model comes to: it also adds, normalises and moves memory
MEASURE_SECONDS = 1.0


@dataclass(frozen=True)
class Work:
    """Tokens that a stage reads forward alone, and tokens that it learns from (forward and backward)."""

    stage: str
    read: int
    learnt: int


@dataclass(frozen=True)
class Size:
    """What decides the FLOPs of a token: parameters that are multiplied with, and the width of those matrices."""

    parameters: int
    width: int
    inner: int


def seconds(work: Work, size: Size, flops_per_second: float) -> float:
    """A pass forward is 2 FLOPs a parameter and token, the one backward twice that.

    >>> round(seconds(Work("train", 0, 1024), Size(135_000_000, 576, 1536), 1e11) / 60, 2)
    0.14
    """
    return 2 * size.parameters * (work.read + 3 * work.learnt) / flops_per_second


def measured_speed(size: Size) -> float:
    """FLOPs a second that a model of this size comes to here, on the CPU."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(min(THREADS, len(os.sched_getaffinity(0))))
    try:
        states_TD, inner_weight = torch.ones(1024, size.width), torch.ones(size.width, size.inner)
        begun, products = time.monotonic(), 0
        while time.monotonic() < begun + MEASURE_SECONDS:
            torch.mm(states_TD, inner_weight)
            products += 1
        return SHARE * products * 2 * 1024 * size.width * size.inner / (time.monotonic() - begun)
    finally:
        torch.set_num_threads(before)


def told(works: list[Work], size: Size, flops_per_second: float) -> str:
    """One line: minutes of each stage and together.

    >>> told([Work("align", 60_000, 0), Work("train", 0, 60_000)], Size(10**8, 512, 2048), 1e11)
    'align 2, train 6: about 8 minutes'
    """
    minutes = [(work.stage, seconds(work, size, flops_per_second) / 60) for work in works]
    parts = ", ".join(f"{stage} {max(1, round(spent))}" for stage, spent in minutes)
    return f"{parts}: about {max(1, round(sum(spent for _, spent in minutes)))} minutes"
