"""gpt2-ivr: exact BPE-to-Unigram migration, in-place vocabulary reassignment, realignment and fine-tuning of GPT-2.

For scripts, beside the `ivr` command:

    ivr.distill(tokenizer, texts)                  a BPE tokenizer as a Unigram one that gives the same ids
    ivr.apply_rules(rules, distilled, original)    the swaps of a remap_rules.yaml, carried out
    ivr.load_run("artifacts")                      what a run found, as Arrow tables

Each is loaded when it is first used: `import ivr` itself takes no time.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ivr.api import apply_rules, distill, load_run

__version__ = "0.1.0"
__all__ = ["apply_rules", "distill", "load_run"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from ivr import api

        return getattr(api, name)
    raise AttributeError(f"module 'ivr' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
