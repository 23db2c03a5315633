"""What people script: distil a tokenizer, apply rules, load what a run found. `import ivr` offers these names.

The functions write nothing, lock nothing and keep no record; the `ivr` command does.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ivr.artifacts import ArtifactPaths, check_there
from ivr.errors import StaleInputError
from ivr.manifest import Manifest
from ivr.report.status import read_manifests
from ivr.schema import read_table

if TYPE_CHECKING:
    import pyarrow as pa
    from tokenizers import Tokenizer

PRIOR_EXPONENT = 6.8  # of `ivr distill-tokenizer`


@dataclass(frozen=True)
class Distilled:
    """A distilled tokenizer.

    tokenizer: the Unigram one. pretokens: distinct ones of the texts, all compared. different: those of them that it
    encodes unlike the BPE.
    """

    tokenizer: "Tokenizer"
    pretokens: int
    different: tuple[str, ...]


def distill(tokenizer: "Tokenizer | str | Path", texts: Iterable[str], exponent: float = PRIOR_EXPONENT) -> Distilled:
    """Turn a byte-level BPE tokenizer into a Unigram one that gives the same ids, fitted to these texts.

    Args:
        tokenizer: of `tokenizers`, or a tokenizer.json, or the directory of one.
        texts: documents; each distinct pretoken of theirs is fitted and compared.
        exponent: of the prior, as `ivr distill-tokenizer --prior-exponent` has it.

    Raises:
        ConfigError: the tokenizer is none that can be distilled; the message says what of it.
        CorruptInputError: the file is no tokenizer.

    >>> from tokenizers import Tokenizer, models, pre_tokenizers
    >>> letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    >>> vocabulary = {token: number for number, token in enumerate([*letters, "th", "the"])}
    >>> base = Tokenizer(models.BPE(vocabulary, [("t", "h"), ("th", "e")]))
    >>> base.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    >>> found = distill(base, ["the other", "then"])
    >>> found.pretokens, found.different, found.tokenizer.encode("other").tokens
    (3, (), ['o', 'the', 'r'])
    """
    import numpy as np

    from ivr.analysis.pretokens import PretokenSplitter
    from ivr.encoding.bpe import read_bpe
    from ivr.tokenizer.distill import pipeline
    from ivr.tokenizer.verify.comparison import compare_pretokens

    base = _load(tokenizer)
    split = PretokenSplitter(base)
    pretokens = sorted({pretoken for text in texts for pretoken in split(text)})
    made = pipeline.distill(base, read_bpe(base), pretokens, exponent).tokenizer
    found = compare_pretokens(base, made, pretokens, np.ones(len(pretokens), np.int64))
    return Distilled(made, len(pretokens), tuple(mismatch.pretoken for mismatch in found))


def apply_rules(
    rules: str | Path, distilled: "Tokenizer | str | Path", original: "Tokenizer | str | Path"
) -> "Tokenizer":
    """Carry out the swaps of a remap_rules.yaml; all other ids keep their strings.

    Args:
        rules: the file, as `ivr remap` writes it or a person edits it.
        distilled: the Unigram tokenizer that the rules are for, e.g. artifacts/tokenizers/distilled_unigram.
        original: the BPE it was made from, e.g. artifacts/tokenizers/original; it says where pretokens end.

    Raises:
        CorruptInputError: the rules cannot be read, or do not fit these tokenizers; names the line.

    >>> tokenizer = apply_rules("remap_rules.yaml", "distilled_unigram", "original")  # doctest: +SKIP
    """
    from ivr.analysis.pretokens import PretokenSplitter
    from ivr.encoding.bpe import read_bpe
    from ivr.tokenizer.remap.apply import DistilledTokenizer, apply_swaps, check_rules
    from ivr.tokenizer.remap.rules import read_rules
    from ivr.tokenizer.unigram_file import read_unigram

    base, file = _load(original), Path(rules)
    split = PretokenSplitter(base)
    found = DistilledTokenizer(*read_unigram(_file(distilled)))
    read = read_rules(file)
    check_rules(file, read, found, read_bpe(base), split)
    return apply_swaps(found, read.swaps, split)


class Run:
    """What a run found, as Arrow tables (`.to_pandas()` where pandas is installed). Made by `load_run`.

    Each is read when it is asked for. Raises StaleInputError naming the command that makes what is not there.
    """

    def __init__(self, root: Path) -> None:
        self.paths = ArtifactPaths(root)
        self.manifests: dict[str, Manifest] = read_manifests(self.paths)

    @cached_property
    def stages(self) -> "pa.Table":
        """A row a stage: stage, started_at, wall_seconds, peak_memory_bytes, output_bytes, results (JSON)."""
        return _table(
            {
                "stage": name,
                "started_at": row.started_at,
                "wall_seconds": row.wall_seconds,
                "peak_memory_bytes": row.peak_memory_bytes,
                "output_bytes": sum(output.bytes for output in row.outputs),
                "results": json.dumps(row.results, ensure_ascii=False),
            }
            for name, row in self.manifests.items()
        )

    @cached_property
    def tokens(self) -> "pa.Table":
        """A row an id of the base tokenizer: token_id, token, count, document_count, share."""
        columns = {"token_id": "int", "token": "string", "count": "int", "document_count": "int", "share": "double"}
        return read_table(self._there(self.paths.token_frequency, "analyze"), columns, "run `ivr analyze` again")

    @cached_property
    def swaps(self) -> "pa.Table":
        """A row a swap that was carried out: id, old, new, pieces, score, words."""
        from ivr.tokenizer.remap.rules import read_rules

        rules = read_rules(self._there(self.paths.remap_rules, "remap"))
        return _table(
            {
                "id": swap.id,
                "old": swap.old,
                "new": swap.new,
                "pieces": list(swap.pieces),
                "score": swap.score,
                "words": swap.words,
            }
            for swap in rules.swaps
        )

    @cached_property
    def training(self) -> "pa.Table":
        """A row an entry of metrics.jsonl: step, and loss, lr, tokens, heldout_bits_per_byte, ... where measured."""
        from ivr.training.metrics import read_metrics

        path = self._there(self.paths.training / "metrics.jsonl", "train")
        return _table(read_metrics(path))

    @cached_property
    def evaluation(self) -> "pa.Table":
        """A row a kind of text and a model: text, model, bits_per_byte, tokens_per_byte."""
        made = self.manifests.get("evaluate")
        if made is None:
            raise StaleInputError(f"{self.paths.root} was not evaluated; run `ivr evaluate`")
        bits, tokens = made.results["bits_per_byte"], made.results["tokens_per_byte"]
        return _table(
            {"text": kind, "model": model, "bits_per_byte": value, "tokens_per_byte": tokens[kind][model]}
            for kind, models in bits.items()
            for model, value in models.items()
        )

    @cached_property
    def documents(self) -> "pa.Table":
        """A row a held-out document and model: text, document, model, bytes, tokens, bits, beginning."""
        columns = {"text": "string", "document": "int", "model": "string", "bytes": "int", "tokens": "int"}
        columns |= {"bits": "double", "beginning": "string"}
        return read_table(
            self._there(self.paths.evaluated_documents, "evaluate"), columns, "run `ivr evaluate --force`"
        )

    def _there(self, path: Path, stage: str) -> Path:
        if not path.exists():
            raise StaleInputError(f"{path} is not there; run `ivr {stage} --artifacts-dir {self.paths.root}`")
        return path


def load_run(artifacts_dir: str | Path) -> Run:
    """The tables of a run. Raises StaleInputError where there is none.

    >>> run = load_run("artifacts")  # doctest: +SKIP
    >>> run.evaluation.to_pylist()  # or to_pandas(), where pandas is installed  # doctest: +SKIP
    """
    root = Path(artifacts_dir)
    check_there(root)
    run = Run(root)
    if not run.manifests:
        raise StaleInputError(f"no stage has run in {root}; `ivr init --artifacts-dir {root}` is the first")
    return run


def _table(rows: Iterable[Mapping[str, Any]]) -> "pa.Table":
    """Rows that may lack some of the columns."""
    import pyarrow as pa

    rows = list(rows)
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})


def _file(place: "Tokenizer | str | Path") -> Path:
    if not isinstance(place, str | Path):
        raise TypeError("a distilled tokenizer is read from its file: its scores must be those that were written")
    return Path(place) / "tokenizer.json" if Path(place).is_dir() else Path(place)


def _load(tokenizer: "Tokenizer | str | Path") -> "Tokenizer":
    if not isinstance(tokenizer, str | Path):
        return tokenizer
    from ivr.base.tokenizer import check_tokenizer_json
    from ivr.encoding.text.tokenizer_file import load_tokenizer

    file = _file(tokenizer)
    check_tokenizer_json(file, str(file))
    return load_tokenizer(file)
