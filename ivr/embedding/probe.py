"""The loss of rows before any training, and which new rows take probability that is not theirs.

Both come from one pass of the frozen body over held-out text, per matrix under trial. The zero-row trap: in a head
whose trained rows all have negative logits, a zero row has logit 0 and takes nearly all of the probability.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ivr.embedding.initialisers.body import Body, for_head
from ivr.embedding.initialisers.domain_text import DomainText

FLAGGED_SHARE = 0.01  # of the probability mass, on average over the places of the text
LOGITS_AT_ONCE = 1 << 21  # 8 MiB of float32: far less than a matrix


@dataclass(frozen=True)
class Probe:
    """Of one held-out text. mass_K: mean probability of each new id; share_K: its share of the real tokens."""

    bits_per_byte: float
    tokens_per_byte: float
    mass_K: np.ndarray
    share_K: np.ndarray

    def flagged(self, new_ids: Sequence[int]) -> list[dict[str, Any]]:
        """New rows with more than 1 % of the probability on average, the largest first, and their share of the text."""
        order = np.argsort(-self.mass_K, kind="stable")
        return [
            {"id": int(new_ids[k]), "mass": round(float(self.mass_K[k]), 6), "share": round(float(self.share_K[k]), 6)}
            for k in order
            if self.mass_K[k] > FLAGGED_SHARE
        ]

    def results(self, new_ids: Sequence[int]) -> dict[str, Any]:
        return {
            "bits_per_byte": round(self.bits_per_byte, 6),
            "new_rows_mass": round(float(self.mass_K.sum()), 6),
            "new_rows_share": round(float(self.share_K.sum()), 6),
            "flagged": self.flagged(new_ids),
        }


def probe(
    body: Body, input_VD: torch.Tensor, head_VD: torch.Tensor | None, new_ids: Sequence[int], text: DomainText
) -> Probe:
    """Read `text` with these matrices (any float dtype, by remapped id). Documents are cut into windows of a context.

    Every token is scored once; each window starts after `<|endoftext|>`, and long documents without a sliding window:
    quicker than `ivr evaluate`, and a little above it.
    """
    length = body.context - 1
    windows = [ids[start : start + length] for ids in text.documents for start in range(0, len(ids), length)]
    windows = sorted((ids for ids in windows if len(ids)), key=len, reverse=True)
    mass_K, counts_K = np.zeros(len(new_ids)), np.zeros(len(new_ids), dtype=np.int64)
    nats, tokens = 0.0, 0
    new = torch.tensor(list(new_ids), dtype=torch.int64, device=body.device)
    head = input_VD if head_VD is None else head_VD
    with torch.no_grad():
        head_f = head.to(body.device, torch.float32)
        while windows:
            size = max(1, LOGITS_AT_ONCE // (len(head) * len(windows[0])))
            batch, windows = windows[:size], windows[size:]
            ids_BT = np.full((len(batch), len(batch[0]) + 1), text.start_id, dtype=np.int64)
            real_BT = np.zeros((len(batch), len(batch[0])), dtype=bool)
            for row, ids in enumerate(batch):
                ids_BT[row, 1 : len(ids) + 1] = ids
                real_BT[row, : len(ids)] = True
            inputs = torch.from_numpy(ids_BT[:, :-1])
            states_BTD = body.hidden(input_VD[inputs].to(body.device, torch.float32))
            states_ND = for_head(states_BTD[torch.from_numpy(real_BT).to(body.device)], head_f.shape[1])
            log_p_NV = torch.log_softmax(states_ND @ head_f.T, dim=-1)
            targets = torch.from_numpy(ids_BT[:, 1:][real_BT]).to(body.device)
            nats -= float(log_p_NV.gather(1, targets[:, None]).double().sum())
            mass_K += log_p_NV[:, new].exp().double().sum(dim=0).cpu().numpy()
            counts_K += np.bincount(ids_BT[:, 1:][real_BT], minlength=len(head))[list(new_ids)]
            tokens += len(targets)
    return Probe(
        nats / float(np.log(2)) / max(1, text.num_bytes),
        tokens / max(1, text.num_bytes),
        mass_K / max(1, tokens),
        counts_K / max(1, tokens),
    )
