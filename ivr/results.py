"""What the figures of a manifest look like, as far as another stage, the report or the status reads them.

Every field may be missing: an earlier version, or an option, left it out. `Manifest.read` checks the types, so that
nobody who reads a figure meets a string where a number belongs.
"""

from typing import Required

from typing_extensions import TypedDict

Number = float | int


class ModelRecord(TypedDict, total=False):
    """The base model of `init`."""

    name: str
    identity: str
    revision: str


class CorpusCounts(TypedDict, total=False):
    """One kind of text that `init` cleaned."""

    documents: int
    bytes: int


class InitResults(TypedDict, total=False):
    model: ModelRecord
    revision: str
    corpora: dict[str, CorpusCounts]


class AnalyzeResults(TypedDict, total=False):
    documents: int


class DistillResults(TypedDict, total=False):
    agreement_percent: Number
    occurrences: int
    mismatched_types: int
    types: int
    mismatched_occurrences: int
    constraints: int
    rounds: int
    largest_score: Number


class VerifyResults(TypedDict, total=False):
    equal: bool
    documents: int
    different_documents: int
    runs: int
    different_runs: int
    longest_run: int
    adversarial_strings: int
    adversarial_equal_percent: Number | None


class SelectResults(TypedDict, total=False):
    swaps: int


class StrategyResults(TypedDict, total=False):
    """One initialiser of `align`."""

    bits_per_byte: Number
    new_norm_mean: Number | None
    kept_norm_mean: Number | None
    new_cosine_to_mean: Number | None
    new_rows_mass: Number | None
    new_rows_share: Number | None
    flagged: list[dict[str, Number]]


class AlignResults(StrategyResults, total=False):
    strategy: str
    strategies: dict[str, StrategyResults]


class TrainResults(TypedDict, total=False):
    steps: int
    tokens: int
    bytes: int
    loss_first: Number
    loss_last: Number
    heldout_bits_per_byte_first: Number | None
    heldout_bits_per_byte_last: Number | None
    rows_alone_steps: int
    passes_over_text: Number
    replayed_share: Number
    tokens_per_second_median: Number
    processes: int
    device: str
    distributed_type: str
    zero_stage: int
    precision: str
    tokenizer_class: str


class ControlFlops(TypedDict, total=False):
    """FLOPs of the trained model: of a token, of its training, of its new rows before, and of both."""

    per_token: Required[Number]
    training: Required[Number]
    initialising: Required[Number]
    total: Required[Number]


class Control(TypedDict, total=False):
    """One training of the base model."""

    steps: int
    tokens: int
    bytes: int
    passes_over_text: Number
    heldout_bits_per_byte_first: Number | None
    heldout_bits_per_byte_last: Number | None
    flops: Number


class ControlResults(TypedDict, total=False):
    """Of the arms that were trained; `bytes` and `flops` name them."""

    spent: ControlFlops
    bytes: Control
    flops: Control


class Difference(TypedDict, total=False):
    """Of two models in bits per byte, with the ends of its interval."""

    difference: Required[Number]
    low: Required[Number | None]
    high: Required[Number | None]
    documents: Required[int]


class EndScores(TypedDict, total=False):
    """Bits per byte of what follows prompts, in two encodings, and their difference with its interval."""

    as_prompt: Required[Number]
    as_whole_text: Required[Number]
    difference: Required[Number]
    low: Required[Number | None]
    high: Required[Number | None]


class PromptEnds(TypedDict, total=False):
    """What a model loses where a prompt ends inside a token; `inside` is None where none does."""

    cuts: Required[int]
    cuts_inside_a_token: Required[int]
    all: Required[EndScores]
    inside: Required[EndScores | None]


class Written(TypedDict, total=False):
    """What one model writes by itself."""

    bytes_per_token: Required[Number]
    new_tokens: int
    new_token_share_sampled: Number | None
    new_token_share_in_text: Number | None
    different_new_tokens_sampled: int


class EvaluateResults(TypedDict, total=False):
    bits_per_byte: dict[str, dict[str, Number | None]]
    tokens_per_byte: dict[str, dict[str, Number]]
    flops_per_byte: dict[str, dict[str, Number]]
    differences: dict[str, dict[str, Difference]]
    sampling: dict[str, Written]
    prompt_ends: dict[str, dict[str, PromptEnds]]
    heldout_tokens_before: int
    heldout_tokens_after: int
    agreement_percent: Number | None


class MetricsRow(TypedDict, total=False):
    """A line of training/metrics.jsonl: a step, or a look at held-out text after it."""

    step: Required[int]
    loss: Number
    lr: Number
    gradient_norm: Number
    tokens: int
    bytes: int
    position: int
    seconds: Number
    tokens_per_second: Number
    bytes_per_second: Number
    mfu: Number
    heldout_bits_per_byte: Number


SCHEMAS: dict[str, type] = {
    "init": InitResults,
    "analyze": AnalyzeResults,
    "distill-tokenizer": DistillResults,
    "verify": VerifyResults,
    "select": SelectResults,
    "align": AlignResults,
    "train": TrainResults,
    "control": ControlResults,
    "evaluate": EvaluateResults,
}
