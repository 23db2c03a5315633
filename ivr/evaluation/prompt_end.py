"""The end of a prompt: what a model loses where it falls inside a token, as behind `of` in a superword ` of the`.

Held-out text is cut behind words drawn at random, and what follows a cut is scored twice:

* as a prompt is encoded: the text before the cut by itself, then what follows by itself;
* as the whole text is encoded. Where a token spans the cut, it also writes the end of the prompt, which is given. So
  its probability is divided by that of everything which begins as the end of the prompt does (`log_chance_of`).

Both end where both encodings have a border: the same bytes are scored, given the same text.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch

from ivr.evaluation.bits_per_byte import LOGITS_AT_ONCE, Scores, model_config
from ivr.evaluation.intervals import paired_difference

BEFORE, BEHIND = 256, 256  # characters of the document that are encoded on either side of a cut, at most
SCORED = 64  # bytes behind a cut, at least (where the document has them)


@dataclass(frozen=True)
class Cut:
    """Part of a document, and where in it the prompt ends: behind a word, before one blank and another word."""

    text: str
    at: int  # character


def choose_cuts(texts: Sequence[str], count: int, seed: int) -> list[Cut]:
    """Up to `count` cuts, drawn evenly from all places behind a word; the same ones for every tokenizer.

    >>> choose_cuts(["one two"], 5, seed=0)
    [Cut(text='one two', at=3)]
    """
    places = [
        (number, place)
        for number, text in enumerate(texts)
        for place in range(1, len(text) - 1)
        if text[place] == " " and not text[place - 1].isspace() and not text[place + 1].isspace()
    ]
    dice = np.random.Generator(np.random.PCG64(seed))
    drawn = dice.choice(len(places), size=min(count, len(places)), replace=False).tolist() if places else []
    cuts = []
    for number, place in (places[index] for index in sorted(drawn)):
        text, begin = texts[number], max(0, place - BEFORE)
        if begin:  # a word's, or that of the prompt's last one
            begin = max(text.find(" ", begin, place), begin)
        cuts.append(Cut(text[begin : place + BEHIND], place - begin))
    return cuts


@dataclass(frozen=True)
class Encoded:
    """The ids of one cut in both ways, `context` + `scored` each.

    `tail`: what a token of the whole text, its first scored one, writes of the prompt, in the byte alphabet, and
    `tail_ids`, the ids by which the prompt ends instead; both empty where no token spans the cut.
    """

    prompt: Sequence[int]
    following: Sequence[int]
    whole_context: Sequence[int]
    whole_scored: Sequence[int]
    tail: str
    tail_ids: Sequence[int]
    bytes: int  # that follow and are scored


def encode_cut(cut: Cut, tokenizer: Any, longest: int) -> Encoded | None:
    """Encode a cut in both ways, with at most `longest` ids that are scored.

    None where that is not possible, or where the tokenizer writes a part by itself as other text than in the whole.
    """
    parts = (cut.text[: cut.at], cut.text[cut.at :], cut.text)
    prompt, following, whole = (tokenizer.encode(text, add_special_tokens=False).ids for text in parts)
    tokens = tokenizer.id_to_token
    if not prompt or not following:
        return None  # of characters that the tokenizer knows no symbols for
    # a token in the byte alphabet has a character for each of its bytes
    prompt_ends, following_ends, whole_ends = (
        list(accumulate(len(tokens(i)) for i in ids)) for ids in (prompt, following, whole)
    )
    size = prompt_ends[-1]
    following_ends = [size + end for end in following_ends]
    if following_ends[-1] != whole_ends[-1]:
        return None
    first = bisect_left(whole_ends, size + 1)  # of the tokens of the whole text that write more than the prompt
    start = whole_ends[first - 1] if first else 0
    if start not in (0, *prompt_ends):
        return None
    tail_ids = prompt[bisect_left(prompt_ends, start + 1) :]
    common = [
        (place + 1, bisect_left(whole_ends, end) + 1)
        for place, end in enumerate(following_ends)
        if end in whole_ends and len(tail_ids) + place < longest and bisect_left(whole_ends, end) - first < longest
    ]
    if not common:
        return None
    num_following, num_whole = next((it for it in common if following_ends[it[0] - 1] >= size + SCORED), common[-1])
    return Encoded(
        prompt, following[:num_following], whole[:first], whole[first:num_whole],
        "".join(map(tokens, tail_ids)), tail_ids, following_ends[num_following - 1] - size,
    )  # fmt: skip


class Beginnings:
    """Which tokens begin with a text."""

    def __init__(self, tokenizer: Any) -> None:
        found = sorted(tokenizer.get_vocab().items())
        self._tokens = [token for token, _ in found]
        self._ids = [token_id for _, token_id in found]

    def beginning_with(self, text: str) -> list[int]:
        """Their ids; `text` and tokens are in the byte alphabet."""
        return self._ids[bisect_left(self._tokens, text) : bisect_left(self._tokens, text + chr(0x10FFFF))]


def log_chance_of(tail: str, tail_ids: Sequence[int], logs_TV: torch.Tensor, tokens: Any, known: Beginnings) -> float:
    """log p(the text goes on with `tail`): by its own ids, or some of them and a token that writes the rest or more.

    `logs_TV`: log-probabilities of the next token before each of `tail_ids`; `tokens(id)`: a token's string.
    """
    ways, before = [], 0.0
    for logs_V, token_id in zip(logs_TV, tail_ids, strict=True):
        ways.append(before + float(torch.logsumexp(logs_V[known.beginning_with(tail)], dim=0)))
        before += float(logs_V[token_id])
        tail = tail[len(tokens(token_id)) :]
    return float(np.logaddexp.reduce(ways))


@dataclass(frozen=True)
class PromptEnd:
    """The same cuts scored in both ways; the documents of these scores are what follows each cut."""

    encoded: Scores
    whole: Scores
    inside_N: np.ndarray  # bool: a token of the whole text spans the cut

    def results(self, seed: int) -> dict[str, Any]:
        """cuts, cuts_inside_a_token; bits per byte of what follows in both ways and their difference, over all cuts
        (`all`) and over those inside a token (`inside`; None where there is none)."""
        inside = int(self.inside_N.sum())
        return {
            "cuts": len(self.inside_N),
            "cuts_inside_a_token": inside,
            "all": self._figures(np.ones(len(self.inside_N), bool), seed),
            "inside": self._figures(self.inside_N, seed) if inside else None,
        }

    def _figures(self, chosen_N: np.ndarray, seed: int) -> dict[str, Any]:
        encoded, whole = (
            Scores(of.bits_N[chosen_N], of.tokens_N[chosen_N], of.bytes_N[chosen_N])
            for of in (self.encoded, self.whole)
        )
        found = paired_difference(encoded, whole, seed).results()
        return {
            "as_prompt": encoded.bits_per_byte,
            "as_whole_text": whole.bits_per_byte,
            **{name: found[name] for name in ("difference", "low", "high")},
        }


def score_prompt_ends(
    model: Any, tokenizer: Any, cuts: Sequence[Cut], start_id: int, context: int, device: Any
) -> PromptEnd | None:
    """Score what follows each cut by `model`, whose context has `context` tokens. None where there is no cut."""
    encoded = [found for cut in cuts if (found := encode_cut(cut, tokenizer, context)) is not None]
    if not encoded:
        return None
    rows = []  # (ids, how many at the end are looked at)
    for cut in encoded:
        rows.append(([*cut.prompt, *cut.following], len(cut.tail_ids) + len(cut.following)))
        rows.append(([*cut.whole_context, *cut.whole_scored], len(cut.whole_scored)))
    differ = [cut.prompt != cut.whole_context or cut.following != cut.whole_scored for cut in encoded]
    wanted = [2 * place + way for place, differs in enumerate(differ) for way in range(1 + differs)]
    known, nats = Beginnings(tokenizer), np.zeros(len(rows))
    for index, logs_TV in _log_probabilities(model, [rows[index] for index in wanted], start_id, context, device):
        place, way = divmod(wanted[index], 2)
        cut = encoded[place]
        scored = cut.whole_scored if way else cut.following
        logs = logs_TV[-len(scored) :].gather(1, torch.tensor(scored, device=logs_TV.device)[:, None])
        nats[wanted[index]] -= float(logs.double().sum())
        if not way and cut.tail_ids:
            tail_TV = logs_TV[: len(cut.tail_ids)]
            nats[2 * place + 1] += log_chance_of(cut.tail, cut.tail_ids, tail_TV, tokenizer.id_to_token, known)
    bits_N2 = nats.reshape(-1, 2) / np.log(2)
    bits_N2[~np.array(differ), 1] = bits_N2[~np.array(differ), 0]
    bytes_N = np.array([cut.bytes for cut in encoded], np.int64)
    tokens_N2 = np.array([(len(cut.following), len(cut.whole_scored)) for cut in encoded], np.int64)
    as_prompt, as_whole = (Scores(bits_N2[:, way], tokens_N2[:, way], bytes_N) for way in range(2))
    return PromptEnd(as_prompt, as_whole, np.array([bool(cut.tail_ids) for cut in encoded]))


def _log_probabilities(
    model: Any, rows: Sequence[tuple[Sequence[int], int]], start_id: int, context: int, device: Any
) -> Iterator[tuple[int, torch.Tensor]]:
    """(number of the row, log-probabilities (n, V) of the next token before each of its last n ids), n as it says.

    A row too long for the context loses ids at its beginning; another begins after `start_id`, as a document does.
    """
    order = sorted(range(len(rows)), key=lambda index: (-len(rows[index][0]), index))
    at_once = LOGITS_AT_ONCE[torch.device(device).type]
    was_training = model.training
    model.eval()
    with torch.no_grad():
        while order:
            longest = min(len(rows[order[0]][0]), context)
            size = max(1, at_once // (model_config(model).vocab_size * longest))
            batch, order = order[:size], order[size:]
            inputs_BT = np.full((len(batch), longest), start_id, np.int64)
            lengths = []
            for row, index in enumerate(batch):
                ids = [start_id, *rows[index][0][:-1]][-context:]
                inputs_BT[row, : len(ids)] = ids
                lengths.append(len(ids))
            logits_BTV = model(input_ids=torch.from_numpy(inputs_BT).to(device), use_cache=False).logits
            for row, index in enumerate(batch):
                last = logits_BTV[row, max(0, lengths[row] - rows[index][1]) : lengths[row]]
                yield index, torch.log_softmax(last.float(), dim=-1)
    model.train(was_training)
