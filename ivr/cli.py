"""`ivr <stage> [options]`: finds the stage's module, parses, runs, turns errors into exit codes.

A stage's module is imported only when it is named, and imports nothing heavy itself before `run`: `--help`
answers at once.
"""

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import ivr
from ivr.console import LOG, finish_output, prepare_streams, printable, redact, say, set_up_logging
from ivr.errors import EXIT_CODES, FAULT, INTERRUPTED, ConfigError, CorruptInputError, IvrError
from ivr.options.declared import own_options, shared_options
from ivr.options.parser import add_options, command_line

if TYPE_CHECKING:
    from ivr.options.config_file import Chosen

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
    "control": ("ivr.training.control.stage", "train the base model as far, its vocabulary unchanged, to compare"),
    "evaluate": ("ivr.evaluation.evaluate", "bits per byte, tokens per byte and agreement of every model"),
    "report": ("ivr.report.report", "summary of a run, and its HTML report"),
    "export": ("ivr.export.stage", "the trained model as another program loads it, Transformers.js for one"),
    "status": ("ivr.cluster.status", "which stages are done, missing or stale, and their jobs"),
    "check": ("ivr.report.check", "read every file of a run and compare it with its recorded hash"),
    "submit": ("ivr.cluster.submit", "run a stage as a Slurm job"),
    "plan": ("ivr.commands.plan", "which stages would run, why, and what each will take"),
    "tokens": ("ivr.commands.tokens", "show a text's tokens, before and after"),
    "sweep": ("ivr.commands.sweep", "runs over swaps, initialisers and seeds, and their comparison"),
    "doctor": ("ivr.commands.doctor", "look over this machine, and say what mends what"),
    "completion": ("ivr.commands.completion", "print the completion script for bash or zsh"),
}

DESCRIPTION = (
    "Move a model's tokenizer from BPE to Unigram without changing an id, then reassign rarely used ids to strings of "
    "your text."
)
EPILOG = f"""\
stages run in this order:
  init, analyze, distill-tokenizer, select, remap, align, train, evaluate, report

examples:
  ivr init --model-name openai-community/gpt2 --raw-corpora-dir my/text
  ivr select --swaps 1000
  ivr <stage> --help

exit codes:
{chr(10).join(f"  {code:<5}{meaning}" for code, meaning in EXIT_CODES.items())}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one stage; returns the exit code."""
    prepare_streams()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    named, root = "", Path("artifacts")
    try:
        _refuse_undecodable(arguments)
        module, options = parse(arguments)
        if module is None:
            build_parser()[0].print_help()
            code = 0 if not arguments else 2
        else:
            named = options.stage
            set_up_logging(options.verbosity, options.log_json)
            if named != "doctor":  # which says it itself
                _say_what_was_left_out()
            chosen = choose_config(module, options)
            root = chosen.config.artifacts_dir
            if root.exists() and not root.is_dir():
                raise ConfigError(f"--artifacts-dir {root}: that is a file; name a directory")
            if options.show_config:
                from ivr.options.config_file import show

                say(show(options.stage, chosen))
            else:
                _foretell(named, chosen.config)
                module.run(chosen.config)
            code = 0
        finish_output()
        return code
    except BaseException as error:
        if isinstance(error, SystemExit | GeneratorExit):
            raise
        return _end(error, named, root)


def _end(error: BaseException, named: str, root: Path) -> int:
    """Say in one sentence why there was an end; returns the exit code."""
    if not LOG.handlers:
        set_up_logging()
    with contextlib.suppress(OSError):
        finish_output()
    who = f"ivr {named}".rstrip()
    LOG.debug("%s: where it ended", who, exc_info=error)
    from ivr.machine.failures import explain, explain_corrupt

    if isinstance(error, IvrError):
        refused = explain_corrupt(error, root) if isinstance(error, CorruptInputError) else None
        LOG.error("%s: %s", who, f"{error}. The reason: {refused.sentence}" if refused else error)
        return refused.exit_code if refused else error.exit_code
    if isinstance(error, KeyboardInterrupt):
        LOG.error("%s: interrupted; run it again to go on", who)
        return INTERRUPTED
    from ivr.machine.crash import write_report

    if failure := explain(error, root):
        LOG.error("%s: %s (-v shows where)", who, failure.sentence)
        return failure.exit_code
    report = write_report(error, named or "ivr", root)
    what = f"{type(error).__name__}: {error}".partition("\n")[0][:300]
    LOG.error(
        "%s: this is a fault of gpt2-ivr itself (%s). %s",
        who,
        what,
        f"Please report it where you have the program from, with {report}: its traceback and versions"
        if report
        else "Its traceback could not be written anywhere; -v shows it. Please report it where you have it from",
    )
    return FAULT


def _refuse_undecodable(arguments: Sequence[str]) -> None:
    """A name that is no text in the encoding of this shell cannot be written into any record."""
    for word in arguments:
        if any("\ud800" <= letter <= "\udfff" for letter in word):
            raise ConfigError(
                f"the argument '{printable(word)}' holds bytes that are no text in {sys.getfilesystemencoding()}; "
                "rename that file, or set LC_ALL to the encoding it is named in"
            )


def _say_what_was_left_out() -> None:
    if names := os.environ.pop("IVR_LEFT_OUT", ""):
        LOG.info("%s of this shell left out: packages come from %s alone", names.replace(" ", ", "), sys.prefix)


def _foretell(stage: str, config: Any) -> None:
    """Say what a long stage will take, where an earlier run of this machine tells."""
    from ivr.manifest import PIPELINE

    if stage not in PIPELINE:
        return
    from ivr.commands.foretold import foretell

    if told := foretell(stage, config):
        LOG.info("%s: %s", stage, told)


def parse(arguments: Sequence[str]) -> tuple[ModuleType | None, argparse.Namespace]:
    """The stage's module and its options; wrong usage ends the process with 2.

    What `submit` does not know belongs to the stage it sends, and is checked here, before it travels; what the sent
    stage finds in a file travels as options.
    """
    named = next((word for word in arguments if not word.startswith("-")), "")
    parser, module = build_parser(named if named in STAGES else "")
    options, unknown = parser.parse_known_args(arguments)
    if named == "submit" and options.sent:
        sent, sent_options = parse([options.sent, *unknown])
        assert sent is not None
        sent_options.config = options.config
        options.sent_config = config = choose_config(sent, sent_options).config
        words = unknown if options.config is None else command_line(config, own_options(type(config)))
        options.arguments = tuple(words)
    elif unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if named == "completion":
        options.parser = build_parser(*STAGES)[0]
    return module, options


def _configs_of_a_run(options: argparse.Namespace) -> "dict[str, Any]":
    """The config of every stage of the pipeline, for what looks at all of them."""
    from ivr.manifest import PIPELINE

    shared = argparse.Namespace(config=options.config)
    if "artifacts_dir" in options:
        shared.artifacts_dir = options.artifacts_dir
    modules = {stage: importlib.import_module(STAGES[stage][0]) for stage in PIPELINE}
    return {
        stage: choose_config(module, argparse.Namespace(**vars(shared), stage=stage))
        for stage, module in modules.items()
    }


def choose_config(module: ModuleType, options: argparse.Namespace) -> "Chosen":
    """The stage's config from the command line, the file of `--config`, and the defaults."""
    from ivr.options.config_file import choose, read_config_file

    file = {}
    if options.config is not None:
        file = read_config_file(
            options.config, {name: importlib.import_module(STAGES[name][0]).Config for name in STAGES}
        )
    if options.stage == "plan":
        options.configs, options.compares = _configs_of_a_run(options), options.config is not None
    names = {item.name for item in fields(module.Config)}
    given = {name: value for name, value in vars(options).items() if name in names}
    return choose(module.Config, options.stage, given, options.config, file)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with a command line that a file's name may have come into."""

    def _print_message(self, message: str, file: Any = None) -> None:
        super()._print_message(printable(redact(message)), file)


def build_parser(*stages: str) -> tuple[argparse.ArgumentParser, ModuleType | None]:
    """The parser, and the module of the last of `stages`; only theirs are imported and have their options in it."""
    parser = _Parser(
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
        if name in stages:
            module = importlib.import_module(path)
            child.description = module.DESCRIPTION
            child.epilog = module.EPILOG
            child.usage = getattr(module, "USAGE", None)
            add_options(child, own_options(module.Config))
            _add_shared(child, module.Config)
    return parser, module


def _add_shared(parser: argparse.ArgumentParser, config: type) -> None:
    """What every command has, and what is no part of its config: where that is from, how much is said."""
    (shared,) = add_options(parser, shared_options(config)).values()
    shared.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="options of a whole run, one TOML table a stage; those of the command line go before (default: none)",
    )
    shared.add_argument(
        "--show-config", action="store_true", help="print the value and the origin of each option, and run nothing"
    )
    shared.add_argument("-v", "--verbose", dest="verbosity", action="store_const", const=1, default=0, help="say more")
    shared.add_argument(
        "-q", "--quiet", dest="verbosity", action="store_const", const=-1, help="warnings and errors only"
    )
    shared.add_argument(
        "--log-json", action="store_true", help="what is logged on standard error, as JSON: one object a line"
    )
