"""Writes the card of a model directory: a YAML header as the Hugging Face Hub reads it, and a text for people.

Made twice: by `train`, from what is known then, and by `report`, with the figures of `evaluate`.
"""

import html
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from ivr.base.companions import BASE_CARD, licence_of
from ivr.base.tokenizer import read_json
from ivr.card.facts import MODELS, TEXTS, CardFacts
from ivr.card.templates import strict_environment
from ivr.console import printable
from ivr.tokenizer.superwords.placing import has_superwords

if TYPE_CHECKING:
    from huggingface_hub import EvalResult
    from jinja2 import Environment

TITLES = {  # what people call a model_type; others by their own name
    "gpt2": "GPT-2", "gpt_neox": "GPT-NeoX", "opt": "OPT", "gpt_bigcode": "GPT-BigCode", "llama": "Llama",
    "qwen2": "Qwen2", "qwen3": "Qwen3", "olmo2": "OLMo 2",
}  # fmt: skip
MODEL_NAMES = {
    "base": "base model",
    "aligned": "after alignment, before training",
    "trained": "this model",
    "control-bytes": "base model trained on as many bytes, vocabulary unchanged",
    "control-flops": "base model trained with as many FLOPs, vocabulary unchanged",
}
TASK = "text-generation"


def model_card(folder: Path, facts: CardFacts) -> str:
    """The text of README.md for the model in `folder`, whose tokenizer, licence and base card lie there already."""
    from huggingface_hub import ModelCard, ModelCardData

    results = eval_results(facts)
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag=TASK,
        tags=[*_model_type(folder), "gpt2-ivr"],
        base_model=facts.base_model if facts.hub_revision else None,
        model_name=_name(facts) if results else None,
        eval_results=results or None,
        **licence_of(folder),
    )
    tokenizer = folder / "tokenizer.json"
    text = (
        _environment()
        .get_template("card.md.jinja")
        .render(
            facts=facts,
            architecture=", ".join(TITLES.get(kind, kind) for kind in _model_type(folder)),
            base_card=BASE_CARD if (folder / BASE_CARD).is_file() else "",
            licence=licence_of(folder),
            superwords=tokenizer.is_file() and has_superwords(tokenizer.read_text(encoding="utf-8")),
            texts=TEXTS,
            models=[
                (name, told)
                for name, told in MODEL_NAMES.items()
                if name in MODELS or any(facts.bits_per_byte(text, name) is not None for text in TEXTS)
            ],
        )
    )
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}"))


def eval_results(facts: CardFacts) -> "list[EvalResult]":
    """What was measured of the trained model, for the header's `model-index`; the data set is named by its hash."""
    from huggingface_hub import EvalResult

    found = []
    for corpus in facts.corpora:
        about: dict[str, Any] = {
            "task_type": TASK,
            "dataset_type": f"heldout-{corpus.kind}-text",
            "dataset_name": f"held-out {corpus.kind} text, sha256 {corpus.heldout_sha256[:16]}",
            "dataset_split": "heldout",
        }
        loss = facts.bits_per_byte(corpus.kind, "trained")
        if loss is not None:
            found.append(
                EvalResult(
                    **about, metric_type="bits_per_byte", metric_name="bits per byte", metric_value=round(loss, 6)
                )
            )
        if corpus.kind == "domain" and facts.tokens_saved_percent is not None:
            saved = round(facts.tokens_saved_percent, 4)
            name = "tokens saved against the base model's tokenizer, percent"
            found.append(EvalResult(**about, metric_type="tokens_saved", metric_name=name, metric_value=saved))
    return found


def _name(facts: CardFacts) -> str:
    """`gpt2-ivr-500`: of the base model and the number of swaps."""
    base = facts.base_model.rpartition("/")[2] or "model"
    return f"{base}-ivr" if facts.swaps is None else f"{base}-ivr-{facts.swaps}"


@cache
def _environment() -> "Environment":
    """For Markdown: what stands in a cell, whatever it holds, can neither leave it nor become HTML."""
    made = strict_environment(Path(__file__).parent, finalize=cell, html=False)
    made.filters["code"] = code
    return made


def cell(value: Any) -> str:
    r"""A value as text of a Markdown table; what is marked as Markdown already stays.

    >>> cell("a|b <i>"), cell(0.25), cell(1200)
    ('a\\|b &lt;i&gt;', '0.2500', '1,200')
    """
    if isinstance(value, Markup):
        return value
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        text = json.dumps(value)
    else:
        text = value if isinstance(value, str) else f"{value:,.4f}" if isinstance(value, float) else f"{value:,}"
    return html.escape(printable(" ".join(text.split())), quote=False).replace("|", "\\|")


def code(token: str) -> Markup:
    r"""A token within backticks, where nothing can be escaped and a backtick would end it.

    >>> str(code(" a`b")), str(code("\n"))
    (" a'b", '\\x0a')
    """
    shown = "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in token)
    return Markup(shown.replace("`", "'"))  # noqa: S704 - between backticks


def _model_type(folder: Path) -> list[str]:
    """What config.json calls the architecture."""
    config = folder / "config.json"
    found = read_json(config, str(config)).get("model_type") if config.is_file() else None
    return [found] if isinstance(found, str) else []
