"""Stage `align`: give every reassigned id a new embedding row; everything else stays as it is, bit for bit.

    base model + rules -> original_{wte,wpe} -> aligned_{wte,wpe} (reordered) -> final_wte (initialised) -> model

In the names of files wte are the input embeddings and wpe the learned positions, as in GPT-2; a model that computes its
positions has none to write. The rows of an untied head, and of its bias, are reordered and made as well. The other
tensors are copied from file to file, in their dtype. A model object is only built to be read: by `distill`, and for the
loss on held-out text before any training.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ivr.artifacts import ArtifactPaths
from ivr.console import LOG, say
from ivr.corpus.documents import cleaned_input
from ivr.embedding.options import READ_TEXT, RUN_MODEL, STRATEGIES, Config, check_options, strategy_table
from ivr.stage import Input, Manifest, open_stage

if TYPE_CHECKING:
    import torch

    from ivr.embedding.initialisers.body import Body
    from ivr.embedding.initialisers.rows import Problem
    from ivr.embedding.rows_of_model import ModelRows
    from ivr.embedding.strategies import Effort
    from ivr.embedding.trials import HeldOut, Trial

DESCRIPTION = """\
Give every reassigned id a new embedding row, and write the aligned model: in all other weights the base model, with
the remapped tokenizer. Says what held-out text costs before any training."""
EPILOG = f"""\
--init-strategy, one of:
{strategy_table()}

examples:
  ivr align
  ivr align --init-strategy pieces --compare-strategies
"""

BITS_LOST = "bits_lost_per_token_saved"
MATRICES = tuple(
    f"{name}{suffix}"
    for name in ("original_wte", "original_wpe", "aligned_wte", "aligned_wpe", "final_wte")
    for suffix in (".pt", ".json")
)


def run(config: Config) -> Manifest:
    """Write the matrices and the aligned model."""
    paths = ArtifactPaths(config.artifacts_dir)
    check_options(config)
    base, original, remapped, rules_file, corpus = _sources(config, paths)
    inputs = [base, original, remapped, rules_file]
    if config.compare_strategies or config.init_strategy in READ_TEXT:
        inputs.append(corpus)
    if config.heldout_bytes:
        inputs.append(Input(paths.heldout_corpora, made_by="init", optional=True))
    with open_stage("align", config, inputs) as stage:
        if stage.current:
            return stage.manifest
        folder = config.embeddings_output_dir or paths.embeddings
        stage.replaces(paths.aligned_model, *(folder / name for name in MATRICES))
        from ivr.embedding.initialisers.body import one_way
        from ivr.embedding.model_directory import write_model_directory
        from ivr.embedding.rows_of_model import read_rows
        from ivr.embedding.strategies import Evidence
        from ivr.embedding.trials import Trial
        from ivr.tokenizer.remap.rules import read_rules

        rules = read_rules(rules_file.path)
        rows = read_rows(base.path, original.path, remapped.path, rules, config.untie_head)
        outputs = rows.save_originals(folder)
        by_id = {swap.id: swap for swap in rules.swaps}
        problems = [
            _problem(matrix_VD, rows, [list(by_id[i].pieces) for i in rows.new_ids], config, role)
            for role, matrix_VD in rows.matrices.items()
        ]
        aligned = rows.reordered()
        outputs += rows.save_reordered(folder, aligned[0])
        with one_way(config.threads, config.seed):
            body, effort = _body(config, rows), _effort(config)
            evidence = Evidence(corpus.path, remapped.path, rows.source_V, body, effort, config.seed)
            strings = [by_id[token_id].new for token_id in rows.new_ids]
            heldout = _heldout(config, paths, remapped.path, original.path)
            trial = Trial(problems, aligned, rows.new_ids, rows.kept_ids, strings, evidence, heldout)
            stage.results |= _try(config, trial)
        outputs += rows.save_final(folder, aligned[0], strategy=config.init_strategy, seed=config.seed)
        write_model_directory(paths.aligned_model, base.path, rows.config, rows.state_with(aligned), remapped.path)
        stage.results |= rows.facts()
        LOG.info(
            "align: %d of %d rows are new (%s), head %s", len(rows.new_ids), len(rows.source_V),
            config.init_strategy, stage.results["head"],
        )  # fmt: skip
        return stage.finish([*outputs, paths.aligned_model])


def _sources(config: Config, paths: ArtifactPaths) -> tuple[Input, Input, Input, Input, Input]:
    """The base model, both tokenizers, the rules and the text: the run's own, or those that the options name."""
    return (
        Input(config.model_name or paths.base_model, "" if config.model_name else "init"),
        Input(
            config.original_tokenizer_dir or paths.original_tokenizer, "" if config.original_tokenizer_dir else "init"
        ),
        Input(
            config.remapped_tokenizer_dir or paths.remapped_tokenizer, "" if config.remapped_tokenizer_dir else "remap"
        ),
        Input(config.remap_rules_path or paths.remap_rules, "" if config.remap_rules_path else "remap"),
        cleaned_input(
            config.cleaned_corpora_dir or paths.cleaned_corpora, "" if config.cleaned_corpora_dir else "init"
        ),
    )


def _try(config: Config, trial: "Trial") -> dict[str, Any]:
    """The chosen strategy's figures; with --compare-strategies those of all, as a table on standard output too."""
    from ivr.embedding.trials import table

    # the chosen one last: its rows are those that stay
    others = [name for name in STRATEGIES if config.compare_strategies and name != config.init_strategy]
    found = {}
    for strategy in [*others, config.init_strategy]:
        LOG.info("align: %s", strategy)
        found[strategy] = trial.run(strategy)
    results = found[config.init_strategy] | {"strategy": config.init_strategy}
    if "bits_per_byte" in results:
        bits, base, each = (results[name] for name in ("bits_per_byte", "base_bits_per_byte", BITS_LOST))
        said = "" if each is None else f": {abs(each):.2f} bits {'lost' if each > 0 else 'gained'} for each token saved"
        LOG.info("align: bits per byte of held-out text before any training %.4f, base %.4f%s", bits, base, said)
    if config.compare_strategies:
        say(table(found))
        results["strategies"] = found
    return results


def _body(config: Config, rows: "ModelRows") -> "Body | None":
    """The frozen model, where it is run at all."""
    from ivr.embedding.initialisers.body import Body

    if not (config.heldout_bytes or config.compare_strategies or config.init_strategy in RUN_MODEL):
        return None
    return Body(rows.config, rows.state, rows.names, config.device)


def _heldout(config: Config, paths: ArtifactPaths, remapped_dir: Path, original_dir: Path) -> "HeldOut | None":
    from ivr.corpus.documents import corpus_files
    from ivr.embedding.initialisers.domain_text import read_domain_text
    from ivr.embedding.trials import HeldOut

    if not config.heldout_bytes or not corpus_files(paths.heldout_corpora):
        return None
    # always the same documents, whatever the seed
    both = (
        read_domain_text(paths.heldout_corpora, each, config.heldout_bytes, 0) for each in (remapped_dir, original_dir)
    )
    found = HeldOut(*both)
    return found if found.remapped.documents else None


def _effort(config: Config) -> "Effort":
    from ivr.embedding.strategies import Effort

    return Effort(config.text_bytes, config.snippets_per_token, config.snippet_tokens, config.max_snippets)


def _problem(
    base_VD: "torch.Tensor", rows: "ModelRows", pieces: list[list[int]], config: Config, role: str
) -> "Problem":
    from ivr.embedding.initialisers.rows import Problem

    return Problem(
        base_VD=base_VD,
        new_ids=rows.new_ids,
        kept_ids=rows.source_V[rows.kept_ids].tolist(),  # rows of the base matrix
        pieces=pieces,
        spread=float(rows.config.get("initializer_range", 0.02)),
        seed=config.seed,
        stream=int(role == "output"),
        role=role,
    )
