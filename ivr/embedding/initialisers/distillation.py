"""`distill`: new rows are trained so that the frozen model reads and writes the new tokens as it does their pieces.

Token distillation (Dobler, Elliott and de Melo, 2505.20133), for tokens that replace others. With H_L the last hidden
states, x the rows of the new tokens and both sides reading the same snippets (snippets.py),

    minimise over x   mean over places of |H_L(new tokens) - H_L(pieces)|^2 / mean |H_L(pieces)|^2  +  CE

by Adam, the body and every kept row frozen. The paper starts from the piece means. These are a poor start where the
base never saw the pieces (the bytes of another script: long rows that were only ever pushed away), so here it is
whichever of several starts loses least on ordinary text that is set aside (`best_start`), and the same text decides how
far the rows move from it (`keep_what_pays`). Compared are places from a snippet's first new token on: before it both
sides are the same. CE is the cross-entropy of the student's next tokens:
in a tied matrix the row is also the token's output weight, of which the hidden states say nothing. An untied head's
rows get the CE alone, untied input embeddings the distillation alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from ivr.console import Progress
from ivr.embedding.initialisers.body import Body, for_head
from ivr.embedding.initialisers.snippets import Snippet

Item = TypeVar("Item")
WARMUP_SHARE = 0.05
READ_AT_ONCE = 2  # windows: their logits are the largest thing held
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
BETAS = (0.9, 0.98)


@dataclass(frozen=True)
class Schedule:
    """batch: snippets a step; epochs: passes over them; rate: Adam's peak, in units of the matrix's RMS value."""

    batch: int = 16
    epochs: int = 1
    rate: float = 0.1


@dataclass(frozen=True)
class Frozen:
    """What stays as it is while new rows are trained: the model between its matrices, and all other rows."""

    body: Body
    input_VD: torch.Tensor  # by remapped id; only kept rows are read
    head_VD: torch.Tensor | None  # the same of an untied head
    base_VD: torch.Tensor  # the teacher's input embeddings, by original id
    new_ids: Sequence[int]  # K

    def matrices(self) -> list["_Matrix"]:
        """The input embeddings and the head, which may be one."""
        inputs = _Matrix(self.input_VD, self.new_ids, self.body.device)
        return [inputs, inputs if self.head_VD is None else _Matrix(self.head_VD, self.new_ids, self.body.device)]


def distill(
    frozen: Frozen, start: Sequence[np.ndarray], snippets: Sequence[Snippet], schedule: Schedule
) -> list[np.ndarray]:
    """Train new rows, so that the model's last states are what they are when it reads the pieces.

    Args:
        frozen: all that is not trained.
        start: rows (K, D) to begin with: of the input embeddings and, where it is untied, of the head.
        snippets: text as both tokenizers encode it.
        schedule: batch, epochs, rate.

    Returns:
        The rows, float64, as `start` has them; the same bytes for the same machine, threads and inputs.
    """
    body, head_VD, new_ids = frozen.body, frozen.head_VD, frozen.new_ids
    device = body.device
    rows = [torch.tensor(start_KD, dtype=torch.float32, device=device, requires_grad=True) for start_KD in start]
    if not snippets or not len(new_ids):
        return [start_KD.copy() for start_KD in start]
    matrices = frozen.matrices()
    teacher_VD = frozen.base_VD.to(device, torch.float32)
    # Adam's steps are about as long as its rate in every coordinate: measure it in the rows' own unit
    peaks = [schedule.rate * matrix.rms() for matrix in (matrices if head_VD is not None else matrices[:1])]
    optimizer = torch.optim.Adam(
        [{"params": [row], "lr": peak} for row, peak in zip(rows, peaks, strict=True)], betas=BETAS
    )
    batches = list(_batches(snippets, schedule.batch)) * schedule.epochs
    with Progress("distill", total=len(batches), unit="step") as bar:
        for step, batch in enumerate(batches):
            factor = _factor(step, len(batches))
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * factor
            distance, entropy = _losses(body, matrices, teacher_VD, rows, batch, tied=head_VD is None)
            optimizer.zero_grad()
            (distance + entropy).backward()
            optimizer.step()
            bar.update(1, note=f"distance {distance.item():.4f}, cross-entropy {entropy.item():.4f}")
    return [row.detach().cpu().to(torch.float64).numpy() for row in rows]


def losses(frozen: Frozen, rows: Sequence[np.ndarray], windows: Sequence[np.ndarray]) -> float:
    """Cross-entropy of ordinary text with these rows, nats a token. `windows`: remapped ids, each behind a start."""
    body, device = frozen.body, frozen.body.device
    made = [torch.tensor(row_KD, dtype=torch.float32, device=device) for row_KD in rows]
    matrices = frozen.matrices()
    nats, tokens = 0.0, 0
    ordered = sorted(windows, key=len, reverse=True)
    with torch.no_grad():
        for batch in _batches(ordered, READ_AT_ONCE):
            ids_BT, real_BT = _pad(batch)
            ids = torch.from_numpy(ids_BT).to(device)
            predicting = torch.from_numpy(real_BT[:, 1:]).to(device)
            states_ND = body.hidden(matrices[0].look_up(ids, made[0]))[:, :-1][predicting]
            logits_NV = matrices[1].logits(states_ND, made[-1])
            nats += float(torch.nn.functional.cross_entropy(logits_NV, ids[:, 1:][predicting], reduction="sum"))
            tokens += int(predicting.sum())
    return nats / max(1, tokens)


def best_start(frozen: Frozen, starts: Mapping[str, Sequence[np.ndarray]], windows: Sequence[np.ndarray]) -> str:
    """The name of the start, of `starts` (each as `distill` takes it), with the least loss on ordinary windows.

    The first one where there are no windows, or no new tokens.
    """
    if not windows or not len(frozen.new_ids):
        return next(iter(starts))
    found = [(losses(frozen, start, windows), order, name) for order, (name, start) in enumerate(starts.items())]
    return min(found)[2]


def keep_what_pays(
    frozen: Frozen, start: Sequence[np.ndarray], trained: Sequence[np.ndarray], windows: Sequence[np.ndarray]
) -> tuple[list[np.ndarray], list[float]]:
    """Rows between `start` and `trained`, (1 - s) start + s trained, with the s of `SHARES` that loses least; and s.

    Snippets hold a new token each, far more than ordinary text, so that rows can come to be too sure of themselves. How
    far the training is followed is decided on ordinary windows: of the input embeddings first, then of an untied head.
    All of it where there are no windows.
    """
    kept = [row_KD.copy() for row_KD in trained]
    shares = [1.0] * len(kept)
    if not windows or not len(frozen.new_ids):
        return kept, shares
    for place, (first_KD, last_KD) in enumerate(zip(start, trained, strict=True)):
        found = []
        for share in SHARES:
            # what is not followed at all must not count: training may have diverged
            mixed_KD = (1 - share) * first_KD + share * last_KD if share else first_KD
            found.append((losses(frozen, [*kept[:place], mixed_KD, *kept[place + 1 :]], windows), share, mixed_KD))
        _, shares[place], kept[place] = min(found, key=lambda item: item[:2])
    return kept, shares


class _Matrix:
    """A frozen matrix with other rows at the new ids, without a copy of it."""

    def __init__(self, matrix_VD: torch.Tensor, new_ids: Sequence[int], device: torch.device) -> None:
        self.kept_VD = matrix_VD.detach().to(device, torch.float32)
        self.new_ids = torch.tensor(list(new_ids), device=device)
        self.place_V = torch.full((len(matrix_VD),), -1, device=device)
        self.place_V[self.new_ids] = torch.arange(len(new_ids), device=device)

    def rms(self) -> float:
        return float(self.kept_VD.square().mean().sqrt())

    def look_up(self, ids_BT: torch.Tensor, rows_KD: torch.Tensor) -> torch.Tensor:
        embedded_BTD = self.kept_VD[ids_BT]
        place_BT = self.place_V[ids_BT]
        new_BT = place_BT >= 0
        return embedded_BTD.index_put((*torch.nonzero(new_BT, as_tuple=True),), rows_KD[place_BT[new_BT]])

    def logits(self, hidden_ND: torch.Tensor, rows_KD: torch.Tensor) -> torch.Tensor:
        hidden_ND = for_head(hidden_ND, self.kept_VD.shape[1])
        return (hidden_ND @ self.kept_VD.T).index_copy(1, self.new_ids, hidden_ND @ rows_KD.T)


def _losses(
    body: Body,
    matrices: Sequence[_Matrix],
    teacher_VD: torch.Tensor,
    rows: Sequence[torch.Tensor],
    batch: Sequence[Snippet],
    tied: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(relative squared distance of the states, cross-entropy in nats a token)."""
    device = body.device
    student_BT, real_BT = _pad([snippet.student for snippet in batch])
    teacher_BU, _ = _pad([snippet.teacher for snippet in batch])
    ends_BT, _ = _pad([snippet.ends for snippet in batch])
    compared_BT = real_BT & (np.arange(real_BT.shape[1]) >= np.array([snippet.first for snippet in batch])[:, None])
    ids_BT = torch.from_numpy(student_BT).to(device)
    ends = torch.from_numpy(ends_BT).to(device)
    compared = torch.from_numpy(compared_BT).to(device)
    with torch.no_grad():
        target_BUD = body.hidden(teacher_VD[torch.from_numpy(teacher_BU).to(device)])
        target_ND = target_BUD.gather(1, ends[..., None].expand(-1, -1, target_BUD.shape[2]))[compared]
    hidden_BTD = body.hidden(matrices[0].look_up(ids_BT, rows[0]))
    distance = (hidden_BTD[compared] - target_ND).square().sum() / target_ND.square().sum()
    predicting = torch.from_numpy(real_BT[:, 1:]).to(device)
    states_ND = hidden_BTD[:, :-1][predicting]
    if not tied:
        states_ND = states_ND.detach()  # the head learns from the states, they not from it
    logits_NV = matrices[1].logits(states_ND, rows[-1])
    return distance, torch.nn.functional.cross_entropy(logits_NV, ids_BT[:, 1:][predicting])


def _pad(arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """((B, T) with zeros on the right, which of them are real)."""
    lengths_B = np.array([len(array) for array in arrays])
    padded_BT = np.zeros((len(arrays), lengths_B.max()), dtype=np.int64)
    for row, array in zip(padded_BT, arrays, strict=True):
        row[: len(array)] = array
    return padded_BT, np.arange(padded_BT.shape[1]) < lengths_B[:, None]


def _batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _factor(step: int, num_steps: int) -> float:
    """Linear warm-up, then linearly to zero."""
    warmup = max(1, round(WARMUP_SHARE * num_steps))
    return min(1.0, (step + 1) / warmup) * (1 - step / num_steps)
