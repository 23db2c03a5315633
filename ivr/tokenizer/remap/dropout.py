"""Superword dropout: some superwords of a training text are cut in two at a word border, as a prompt's end cuts them.

A prompt that ends in `one of` holds the id of ` of`, where the text goes on ` of the` and was encoded as one superword.
A model that met the superword alone has seldom seen what follows ` of`. Where some are cut, it meets both spellings.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ivr.analysis.pretokens import PretokenSplitter
from ivr.disk.digest import sha256_json
from ivr.encoding.text.tokenizer_file import load_for_text
from ivr.errors import ConfigError
from ivr.tokenizer.remap.apply import pretokens_of
from ivr.tokenizer.remap.rules import Swap, read_rules

Cuts = Mapping[int, Sequence[Sequence[int]]]  # a superword's id -> its spellings, one for each border that it spans


def superword_cuts(tokenizer: Any, swaps: Iterable[Swap], split: PretokenSplitter) -> Cuts:
    """How every superword among the swaps is written when it is cut in two, the parts as the tokenizer writes them.

    `tokenizer`: of the model; `split`: splits as the original tokenizer does. A part may be a superword itself. Raises
    ConfigError where the swaps hold no superword, or are not this tokenizer's.
    """
    cuts = {}
    for swap in swaps:
        if swap.words < 2:
            continue
        if tokenizer.id_to_token(swap.id) != swap.new:
            raise ConfigError(
                f"--superword-dropout: the remap rules give id {swap.id} to {swap.new!r}, and in the model's tokenizer "
                f"it is {tokenizer.id_to_token(swap.id)!r}; give the rules that belong to it (--remap-rules-path)"
            )
        pretokens = pretokens_of(swap.new, split)
        found = []
        for border in range(1, len(pretokens)):
            parts = ("".join(pretokens[:border]), "".join(pretokens[border:]))
            ids = [i for part in parts for i in tokenizer.encode(part, add_special_tokens=False).ids]
            # a tokenizer that puts a blank in front of a text writes a part otherwise than it stands here
            if "".join(map(tokenizer.id_to_token, ids)) == swap.new:
                found.append(ids)
        if found:
            cuts[swap.id] = found
    if not cuts:
        raise ConfigError(
            "--superword-dropout: the remap rules name no superword; `ivr select --max-words 2` or more chooses some"
        )
    return cuts


@dataclass(frozen=True)
class SuperwordDropout:
    """Cuts each superword with probability `share`, at a border drawn evenly. The same seed cuts the same ones."""

    cuts: Cuts
    share: float
    seed: int

    @cached_property
    def digest(self) -> str:
        """Of all that decides which ids come out."""
        return sha256_json([sorted(self.cuts.items()), self.share, self.seed])

    @cached_property
    def _is_cut_V(self) -> np.ndarray:
        is_cut_V = np.zeros(max(self.cuts) + 1, bool)
        is_cut_V[list(self.cuts)] = True
        return is_cut_V

    def respell(self, document: int, ids: Sequence[int]) -> list[int]:
        """The ids of one document with some superwords cut; which ones depends on the document's number.

        >>> SuperwordDropout({7: [[1, 2]]}, share=1.0, seed=0).respell(0, [5, 7, 8])
        [5, 1, 2, 8]
        """
        ids_T = np.asarray(ids, np.int64)
        at = np.flatnonzero(self._is_cut_V[np.minimum(ids_T, len(self._is_cut_V) - 1)] & (ids_T < len(self._is_cut_V)))
        drawn = np.random.Generator(np.random.PCG64([self.seed, document])).random((len(at), 2))
        found: list[int] = []
        done = 0
        for place, (cut, border) in zip(at.tolist(), drawn.tolist(), strict=True):
            if cut < self.share:
                spellings = self.cuts[ids[place]]
                found += ids[done:place]
                found += spellings[int(border * len(spellings))]
                done = place + 1
        return [*found, *ids[done:]]


def read_dropout(rules: Path, model_dir: Path, original_dir: Path, share: float, seed: int) -> SuperwordDropout:
    """From the remap rules, the tokenizer of the model, and the original one. Raises what `superword_cuts` does."""
    split = PretokenSplitter(load_for_text(original_dir))
    return SuperwordDropout(superword_cuts(load_for_text(model_dir), read_rules(rules).swaps, split), share, seed)
