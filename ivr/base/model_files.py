"""Which files of a model directory, or of a repository on a Hub, a model is made of. Names only: nothing is opened.

transformers looks for weights under these names and in this order: model.safetensors, its index, pytorch_model.bin, its
index; a variant (model.fp16.safetensors) only when it is asked for one, so here it comes last, and is named.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ivr.base.tokenizer import TOKENIZER_FILES
from ivr.console import LOG
from ivr.errors import ConfigError

CONFIG_FILES = ("config.json", "generation_config.json")
SAFETENSORS, PICKLED = "model.safetensors", "pytorch_model.bin"
VARIANT = re.compile(
    r"(?:model\.(?P<a>[\w-]+)\.safetensors|model\.safetensors\.index\.(?P<b>[\w-]+)\.json"
    r"|pytorch_model\.(?P<c>[\w-]+)\.bin|pytorch_model\.bin\.index\.(?P<d>[\w-]+)\.json)"
)
PREFERRED_VARIANTS = ("fp32", "bf16", "fp16")
CHAT_TEMPLATE = "chat_template.jinja"
MORE_CHAT_TEMPLATES = re.compile(r"additional_chat_templates/[\w.-]+\.jinja")
VERSIONED_TOKENIZER = re.compile(r"tokenizer\.[\w.-]+\.json")
LICENCE = re.compile(r"(?:licen[cs]e|notice|copying|copyright|use_policy)[\w-]*(?:\.(?:md|txt|rst))?", re.IGNORECASE)
CARD = "README.md"
NEEDED = (*CONFIG_FILES, *TOKENIZER_FILES)

# what else may hold weights, in the order in which it is named
ELSEWHERE = (
    (re.compile(r".*\.gguf", re.IGNORECASE), "GGUF", "AutoModelForCausalLM.from_pretrained(DIR, gguf_file=NAME)"),
    (
        re.compile(r"tf_model.*\.h5|model\.ckpt.*|flax_model.*\.msgpack|rust_model\.ot|.*\.onnx", re.IGNORECASE),
        "for another framework than PyTorch",
        "a version of transformers before 5 and from_pretrained(DIR, from_tf=True) or (DIR, from_flax=True)",
    ),
    (
        re.compile(r"(?!training_args|optimizer|scheduler|scaler|rng_state|adapter_).*\.(safetensors|bin|pt|pth|ckpt)"),
        "under a name that transformers does not load",
        "the program that wrote it",
    ),
)


@dataclass(frozen=True)
class WeightsChoice:
    """The file of the weights, or the index that names its parts. variant: empty, or fp16 and the like."""

    name: str
    variant: str = ""

    @property
    def is_index(self) -> bool:
        return self.name.endswith(".json")

    @property
    def is_pickled(self) -> bool:
        return self.name.startswith(PICKLED.partition(".")[0])


def choose_weights(names: Iterable[str]) -> WeightsChoice | None:
    """The weights among a directory's file names; None where there are none that transformers loads.

    >>> choose_weights(["model.safetensors", "pytorch_model.bin", "onnx/model.onnx"]).name
    'model.safetensors'
    """
    names = set(names)
    for single in (SAFETENSORS, PICKLED):
        for name in (single, f"{single}.index.json"):
            if name in names:
                return WeightsChoice(name)
    variants = [(match, next(filter(None, match.groups()))) for name in names if (match := VARIANT.fullmatch(name))]

    def order(found: tuple[re.Match[str], str]) -> tuple[bool, int, str, str]:
        name, variant = found[0][0], found[1]
        rank = PREFERRED_VARIANTS.index(variant) if variant in PREFERRED_VARIANTS else len(PREFERRED_VARIANTS)
        return name.startswith(PICKLED.partition(".")[0]), rank, variant, name

    if not variants:
        return None
    match, variant = min(variants, key=order)
    return WeightsChoice(match[0], variant)


def choose_files(names: Collection[str]) -> list[str]:
    """All but the weights: configs, the tokenizer's files, chat templates, the licence and the card."""
    wanted = [name for name in (*NEEDED, CHAT_TEMPLATE, CARD) if name in names]
    patterns = (MORE_CHAT_TEMPLATES, VERSIONED_TOKENIZER, LICENCE)
    return list(dict.fromkeys([*wanted, *sorted(name for name in names if any(p.fullmatch(name) for p in patterns))]))


def check_names(names: Collection[str], origin: str) -> WeightsChoice | None:
    """The weights. Raises ConfigError for files that hold a model in a form that cannot be taken, with the mend."""
    _check_case(names, origin)
    if "adapter_config.json" in names:
        raise ConfigError(
            f"{origin} holds an adapter (adapter_config.json), whose weights are changes to another model's; merge it "
            "(peft: model.merge_and_unload().save_pretrained(DIR)) and give --model-name that directory"
        )
    if "tokenizer.model" in names and not {"tokenizer.json", "vocab.json"} & set(names):
        raise ConfigError(
            f"{origin} has SentencePiece's tokenizer.model alone, and a byte-level BPE is needed (tokenizer.json, or "
            "vocab.json with merges.txt); choose another model"
        )
    choice = choose_weights(names)
    if choice is None:
        for pattern, kind, by in ELSEWHERE:
            there = sorted(name for name in names if "/" not in name and pattern.fullmatch(name))
            if there:
                raise ConfigError(
                    f"{origin} has its weights {'as ' if kind == 'GGUF' else ''}{kind} ({there[0]}); convert them to "
                    f"{SAFETENSORS} (load them with {by}, then save_pretrained) and give --model-name that directory"
                )
    elif choice.variant:
        LOG.warning("%s has weights as a variant only: %s is taken", origin, choice.name)
    return choice


def _check_case(names: Collection[str], origin: str) -> None:
    by_folded: dict[str, str] = {}
    for name in names:
        by_folded.setdefault(name.casefold(), name)
    for wanted in (*NEEDED, CHAT_TEMPLATE, SAFETENSORS, PICKLED):
        found = by_folded.get(wanted.casefold())
        if found is not None and wanted not in names:
            raise ConfigError(f"{origin} has {found}, which transformers does not find: rename it to {wanted}")
