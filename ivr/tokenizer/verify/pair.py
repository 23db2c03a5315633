"""Two tokenizers under comparison, and worker processes that hold both.

Everything runs through the `tokenizers` library alone; nothing here knows how either tokenizer was made. Whole texts
are encoded by the tokenizers as their files give them, with no copy made in between.
"""

import json
import multiprocessing
import os
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar, cast

from tokenizers import PreTokenizedString, Tokenizer

from ivr.analysis.pretokens import PretokenSplitter, pretoken_encoder
from ivr.encoding.byte_alphabet import from_alphabet
from ivr.encoding.text.tokenizer_file import for_text, load_tokenizer
from ivr.encoding.tokenizer_steps import steps as steps_of
from ivr.errors import ConfigError, TryAgainError
from ivr.tokenizer.verify.causes import SUPERWORD, MergeTrees
from ivr.tokenizer.verify.comparison import one_pretoken
from ivr.workers import end_with_parent

Task = TypeVar("Task")
Result = TypeVar("Result")
Ids = list[int]


class Pair:
    """`ours`, the tokenizer in question, and `theirs`, the one it must equal. Takes the texts of tokenizer.json."""

    def __init__(self, ours: str, theirs: str) -> None:
        self.ours, self.theirs = _load(ours), _load(theirs)
        self._symbols = one_pretoken(self.ours), one_pretoken(self.theirs)
        spec = json.loads(theirs)
        steps = steps_of(spec["pre_tokenizer"], "pretokenizers")
        place = _place_of_byte_level(steps)
        self.adds_prefix_space: bool = steps[place]["add_prefix_space"]
        before_model = _before_model(spec.get("normalizer"), steps[: place + 1])
        self._splitter = before_model.pre_tokenizer
        self.split = PretokenSplitter(before_model).split  # the same, many texts at once
        self._whole = pretoken_encoder(self.ours).pre_tokenizer
        self._trees = MergeTrees(theirs)
        self.kept: dict[str, Any] = {}  # what a check remembers from task to task

    def encode(self, texts: Sequence[str]) -> tuple[list[Ids], list[Ids]]:
        """Ids of whole texts. A literal special token in a text is text."""
        return _encode(self.ours, texts), _encode(self.theirs, texts)

    def encode_symbols(self, strings: Sequence[str]) -> tuple[list[Ids], list[Ids]]:
        """Ids of strings in the byte alphabet, each taken for one pretoken; they need not be valid UTF-8."""
        return self._symbols[0](strings), self._symbols[1](strings)

    def decode(self, ours: list[Ids], theirs: list[Ids]) -> tuple[list[str], list[str]]:
        """Texts of ids, special tokens included."""
        return (
            self.ours.decode_batch(ours, skip_special_tokens=False),
            self.theirs.decode_batch(theirs, skip_special_tokens=False),
        )

    def pretokens(self, text: str) -> list[tuple[str, tuple[int, int]]]:
        """What the reference's model sees at once: strings in the byte alphabet, each with its place in the text."""
        if self.theirs.normalizer is None:
            return cast(list[tuple[str, tuple[int, int]]], self._splitter.pre_tokenize_str(text))
        whole = PreTokenizedString(text)
        whole.normalize(self.theirs.normalizer.normalize)
        self._splitter.pre_tokenize(whole)
        return [(symbols, place) for symbols, place, _ in whole.get_splits("original", "char")]

    def same_text(self, decoded: str, text: str) -> bool:
        """True when `decoded` is `text` normalized, or that after the blank that the pre-tokenizer puts in front."""
        text = _normalized(self.theirs, text)
        return decoded == text or (self.adds_prefix_space and decoded == " " + text)

    def mismatch(self, text: str, ours: Ids, theirs: Ids, *, symbols: bool = False) -> dict[str, Any]:
        """The two segmentations of `text` and the cause of their difference, for a report.

        `symbols`: the string is in the byte alphabet and one pretoken, as `encode_symbols` takes it.
        """
        both = self.segmentations(ours, theirs)
        if not symbols and self.superwords(self.pretokens(text), ours):
            return {**both, "cause": SUPERWORD}
        pieces = self._pieces(text, symbols)
        return {**both, "cause": self._trees.cause(both["tokenizer"], both["against"], pieces)}

    def superwords(self, pretokens: Sequence[tuple[str, tuple[int, int]]], ours: Ids) -> list[tuple[int, int, int]]:
        """(id, first pretoken, last pretoken) of every token of `ours` that reaches over a pretoken's end.

        Nothing where the tokens are not the pretokens' characters, as where one tokenizer puts a blank in front.
        """
        tokens = [self.ours.id_to_token(token_id) or "" for token_id in ours]
        if "".join(tokens) != "".join(symbols for symbols, _ in pretokens):
            return []
        ends = list(accumulate(len(symbols) for symbols, _ in pretokens))
        found = []
        end = 0
        for token_id, token in zip(ours, tokens, strict=True):
            begin, end = end, end + len(token)
            first, last = bisect_right(ends, begin), bisect_left(ends, end)
            if first < last < len(ends):
                found.append((token_id, first, last))
        return found

    def _pieces(self, text: str, symbols: bool) -> list[str]:
        """How the tokenizer in question splits a text before its model sees it, in the byte alphabet."""
        splitter = self.ours.pre_tokenizer
        if symbols:
            splitter = self._whole
            try:
                text = from_alphabet(text).decode()
            except UnicodeDecodeError:
                return [text]  # no text: the model is asked directly
        text = _normalized(self.ours, text)
        return [text] if splitter is None else [piece for piece, _ in splitter.pre_tokenize_str(text)]

    def segmentations(self, ours: Ids, theirs: Ids) -> dict[str, list[str]]:
        """The two segmentations as token strings, for a report."""
        return {
            "tokenizer": [self.ours.id_to_token(token_id) or "" for token_id in ours],
            "against": [self.theirs.id_to_token(token_id) or "" for token_id in theirs],
        }


def read_tokenizer_text(path: Path) -> str:
    """A tokenizer.json as `tokenizers` writes it once it has loaded it. Raises CorruptInputError, naming the file.

    Files of elsewhere leave out what the library takes for granted: GPT-2's own does not say that its model is a BPE.
    """
    return str(load_tokenizer(path).to_str())


def _load(text: str) -> Tokenizer:
    return for_text(Tokenizer.from_str(text))


def _encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Ids]:
    return [found.ids for found in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


def _place_of_byte_level(steps: list[dict[str, Any]]) -> int:
    for place, step in enumerate(steps):
        if step["type"] == "ByteLevel":
            return place
    raise ConfigError("a tokenizer has no ByteLevel pre-tokenizer; only byte-level ones can be compared")


def _normalized(tokenizer: Tokenizer, text: str) -> str:
    return text if tokenizer.normalizer is None else str(tokenizer.normalizer.normalize_str(text))


def _before_model(normalizer: dict[str, Any] | None, steps: list[dict[str, Any]]) -> Tokenizer:
    """A tokenizer with this normalizer and pre-tokenizer; the library reads JSON for whole tokenizers only."""
    spec: dict[str, Any] = {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": normalizer,
        "pre_tokenizer": steps[0] if len(steps) == 1 else {"type": "Sequence", "pretokenizers": steps},
        "model": {"type": "BPE", "vocab": {}, "merges": []},
    }
    return Tokenizer.from_str(json.dumps(spec))


# worker processes -----------------------------------------------------------------------------------------------
_PAIR: Pair | None = None


def _start_worker(ours: str, theirs: str) -> None:
    global _PAIR
    end_with_parent()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are the parallelism
    _PAIR = Pair(ours, theirs)


def _call(function: Callable[[Pair, Any], Any], task: Any) -> Any:
    assert _PAIR is not None
    return function(_PAIR, task)


class Workers:
    """`processes` processes, each with its own `Pair`; none for one. Use as a context manager."""

    def __init__(self, ours: str, theirs: str, processes: int) -> None:
        self.pair = Pair(ours, theirs)
        self._processes = processes
        self._pool: ProcessPoolExecutor | None = None
        if processes > 1:
            # spawn: a fork would copy the threads of whatever library is loaded
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(processes, context, _start_worker, (ours, theirs))

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *exc: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def map(self, function: Callable[[Pair, Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """`function(pair, task)` of every task, in order; few tasks are under way at a time, so they may stream."""
        if self._pool is None:
            yield from (function(self.pair, task) for task in tasks)
            return
        waiting: deque[Future[Result]] = deque()
        try:
            for task in tasks:
                waiting.append(self._pool.submit(_call, function, task))
                if len(waiting) >= 2 * self._processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise TryAgainError(
                "a worker process was killed (out of memory?); fewer --processes need less memory"
            ) from None
