"""A Unigram tokenizer as the files that `tokenizers` and `AutoTokenizer` load.

Everything but the model (added tokens, pre-tokenizer, decoder, post-processor) is the base tokenizer's own.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from ivr.base.companions import copy_chat_templates
from ivr.disk.writer import write_json, write_text
from ivr.encoding.byte_alphabet import from_alphabet
from ivr.encoding.text.tokenizer_file import load_tokenizer
from ivr.errors import CorruptInputError

# What a model may not give: an added token that no merge makes, an entry that nothing makes. Every byte that text can
# hold is an entry with a score of 0 or more, so a segmentation with such an entry is never the best.
NEVER = -(2**49)
CLEANS_UP_BPE = "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output"
EXACT = 2**53  # float64 holds every integer up to here
# scores of superwords are multiples, which JSON gives back exactly, and sums of 2,000 of them err by less than it
SUPERWORD_STEP, SUPERWORDS_BELOW = 2**16, 2**58


def unigram_tokenizer(
    base: Tokenizer, tokens: Sequence[str], scores_V: np.ndarray, never: Sequence[int] = ()
) -> Tokenizer:
    """`base` with a Unigram model of these tokens (byte alphabet, in id order) and integer scores (V,).

    `never`: ids that the model may not produce. An added token that merges make as well is none of them: where it is
    not cut out of the text before (a special one read as text, a single word inside another), the model gives it.
    """
    scores = scores_V.astype(np.float64)
    scores[list(never)] = NEVER
    spec = json.loads(base.to_str())
    spec["truncation"] = spec["padding"] = None  # of whoever saved the file: they would cut texts
    spec["model"] = {
        "type": "Unigram",
        "unk_id": None,
        "vocab": [[token, score] for token, score in zip(tokens, scores.tolist(), strict=True)],
        "byte_fallback": False,
    }
    return Tokenizer.from_str(json.dumps(spec, ensure_ascii=False))


def token_bytes(tokens: Sequence[str], scores_V: np.ndarray) -> list[bytes]:
    """The bytes of every id; empty for one that the model never gives.

    >>> token_bytes(["Ġa", "<unused>"], np.array([3, NEVER]))
    [b' a', b'']
    """
    return [
        b"" if score == NEVER else from_alphabet(token) for token, score in zip(tokens, scores_V.tolist(), strict=True)
    ]


def write_tokenizer(directory: Path, tokenizer: Tokenizer, base_directory: Path) -> None:
    """Write tokenizer.json and its config into `directory`; the config is the base's but for the class.

    transformers reads a directory beside a gpt2 config as merge-less BPE, silently, unless the class says otherwise.
    """
    write_text(directory / "tokenizer.json", tokenizer.to_str(pretty=True))
    config: dict[str, Any] = {}
    base_config = base_directory / "tokenizer_config.json"
    if base_config.is_file():
        config = json.loads(base_config.read_text(encoding="utf-8"))
    for key in ("auto_map", "vocab_file", "merges_file", "tokenizer_file", "name_or_path", "fast_tokenizer_files"):
        config.pop(key, None)
    if config.get("clean_up_tokenization_spaces") and not config.get(CLEANS_UP_BPE):
        config["clean_up_tokenization_spaces"] = False  # ignored for a BPE; here blanks of the text would go
    write_json(directory / "tokenizer_config.json", {**config, "tokenizer_class": "PreTrainedTokenizerFast"})
    special = base_directory / "special_tokens_map.json"
    if special.is_file():
        write_text(directory / special.name, special.read_text(encoding="utf-8"))
    copy_chat_templates(base_directory, directory)


def read_unigram(path: Path) -> tuple[Tokenizer, list[str], np.ndarray]:
    """(tokenizer, token strings by id, integer scores (V,)). Raises CorruptInputError when it is not one of ours."""
    try:
        spec = json.loads(path.read_text(encoding="utf-8"))
        model = spec["model"]
        if model["type"] != "Unigram":
            raise CorruptInputError(f"{path}: the model is {model['type']}, not Unigram; run `ivr distill-tokenizer`")
        tokens = [token for token, _ in model["vocab"]]
        scores = np.array([score for _, score in model["vocab"]], np.float64)
    except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
        raise CorruptInputError(f"{path} is not a tokenizer.json ({error!r}); run `ivr distill-tokenizer`") from None
    exact = (scores == np.round(scores)) & (np.abs(scores) < EXACT)
    if not (exact | ((scores % SUPERWORD_STEP == 0) & (scores >= 0) & (scores < SUPERWORDS_BELOW))).all():
        raise CorruptInputError(
            f"{path}: its scores are not integers below 2^53, so `ivr distill-tokenizer` did not write it"
        )
    return load_tokenizer(path), tokens, scores.astype(np.int64)
