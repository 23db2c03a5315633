"""`ivr <stage> [options]`: finds the stage's module, parses, runs, turns errors into exit codes.

A stage's module is imported only when it is named, and imports nothing heavy itself before `run`: `--help`
answers at once.
"""

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import ivr
from ivr.console import LOG, set_up_logging
from ivr.errors import IvrError

# stage -> (module, one line of help), in the order of the pipeline
STAGES: dict[str, tuple[str, str]] = {
    "init": ("ivr.base.init", "fetch and pin the base model, clean the corpora"),
    "analyze": ("ivr.analysis.analyze", "count pretokens and tokens, write the base tokenizer's ids"),
    "distill-tokenizer": ("ivr.tokenizer.distill.stage", "turn the BPE tokenizer into an exact Unigram tokenizer"),
    "verify": ("ivr.tokenizer.verify.stage", "compare two tokenizers from scratch; exit 0 equal, 1 differs"),
    "select": ("ivr.tokenizer.select.stage", "choose which ids leave and which strings enter"),
    "remap": ("ivr.tokenizer.remap.stage", "apply the chosen swaps to the distilled tokenizer"),
    "align": ("ivr.embedding.align", "give every reassigned id a new embedding row"),
    "train": ("ivr.training.train", "fine-tune the aligned model"),
    "evaluate": ("ivr.evaluation.evaluate", "bits per byte, tokens per byte and agreement of every model"),
    "report": ("ivr.report.report", "summary of a run, and its HTML report"),
    "status": ("ivr.cluster.status", "which stages are done, current or missing, and their jobs"),
    "submit": ("ivr.cluster.submit", "run a stage as a Slurm job"),
}

DESCRIPTION = "Move GPT-2's tokenizer from BPE to Unigram without changing an id, then make its rare ids say more."
EPILOG = """\
stages run in this order:
  init, analyze, distill-tokenizer, select, remap, align, train, evaluate, report

examples:
  ivr init --model-name openai-community/gpt2 --raw-corpora-dir my/text
  ivr select --swaps 1000
  ivr <stage> --help

exit codes: 0 done, 1 verify found a difference, 2 usage, 3 stale or missing input, 4 corrupt input, 5 cluster,
  75 try again, 130 interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one stage; returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    module, options = parse(arguments)
    if module is None:
        build_parser()[0].print_help()
        return 0 if not arguments else 2
    named = options.stage
    set_up_logging(options.verbosity)
    try:
        module.run(_make_config(module, options))
    except IvrError as error:
        LOG.error("ivr %s: %s", named, error)
        return error.exit_code
    except KeyboardInterrupt:
        LOG.error("ivr %s: interrupted; run it again to go on", named)
        return 130
    except BrokenPipeError:
        return 0  # the reader of a summary (head, less) has seen enough
    except OSError as error:
        if LOG.isEnabledFor(logging.DEBUG):
            raise
        LOG.error("ivr %s: %s (-v shows where)", named, error)
        return 4
    return 0


def parse(arguments: Sequence[str]) -> tuple[ModuleType | None, argparse.Namespace]:
    """The stage's module and its options; wrong usage ends the process with 2.

    What `submit` does not know belongs to the stage it sends, and is checked here, before it travels.
    """
    named = next((word for word in arguments if not word.startswith("-")), "")
    parser, module = build_parser(named if named in STAGES else "")
    options, unknown = parser.parse_known_args(arguments)
    if named == "submit" and options.sent:
        sent, sent_options = parse([options.sent, *unknown])
        assert sent is not None
        options.arguments, options.sent_config = tuple(unknown), _make_config(sent, sent_options)
    elif unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return module, options


def _make_config(module: ModuleType, options: argparse.Namespace) -> Any:
    names = {item.name for item in fields(module.Config)}
    return module.Config(**{key: value for key, value in vars(options).items() if key in names})


def build_parser(stage: str = "") -> tuple[argparse.ArgumentParser, ModuleType | None]:
    """The parser; only `stage`'s own module is imported and given its options."""
    parser = argparse.ArgumentParser(
        prog="ivr",
        description=DESCRIPTION,
        epilog=EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"gpt2-ivr {ivr.__version__}")
    parser.set_defaults(verbosity=0)
    subparsers = parser.add_subparsers(title="stages", metavar="STAGE", dest="stage")
    module = None
    for name, (path, summary) in STAGES.items():
        child = subparsers.add_parser(
            name, help=summary, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name == stage:
            module = importlib.import_module(path)
            child.description = module.DESCRIPTION
            child.epilog = module.EPILOG
            module.add_arguments(child)
            _add_shared_arguments(child)
    return parser, module


def _add_shared_arguments(parser: argparse.ArgumentParser) -> None:
    shared = parser.add_argument_group("every stage")
    shared.add_argument(
        "--artifacts-dir",
        type=Path,
        default=Path("artifacts"),
        metavar="DIR",
        help="where a run's artifacts lie (default: %(default)s)",
    )
    shared.add_argument("--force", action="store_true", help="run again even when nothing changed")
    shared.add_argument("-v", "--verbose", dest="verbosity", action="store_const", const=1, default=0, help="say more")
    shared.add_argument(
        "-q", "--quiet", dest="verbosity", action="store_const", const=-1, help="warnings and errors only"
    )
