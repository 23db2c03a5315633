"""Stage `align`: give every reassigned id a new embedding row; everything else stays as it is, bit for bit.

    base model + rules -> original_{wte,wpe} -> aligned_{wte,wpe} (reordered) -> final_wte (initialised) -> model

The model's other tensors are copied from file to file, in their dtype. A model object is only built to be read: by
`distill`, and for the loss on held-out text before any training.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ivr.artifacts import ArtifactPaths
from ivr.console import LOG, say
from ivr.embedding.options import READ_TEXT, STRATEGIES, Config, check_options
from ivr.stage import Input, Manifest, open_stage

if TYPE_CHECKING:
    import torch

    from ivr.embedding.initialisers.body import Body
    from ivr.embedding.initialisers.domain_text import DomainText
    from ivr.embedding.initialisers.rows import Problem
    from ivr.embedding.strategies import Effort
    from ivr.embedding.trials import Trial
    from ivr.embedding.weights import EmbeddingNames

DESCRIPTION = """\
Give every reassigned id a new embedding row, and write the aligned model: in all other weights the base model, with
the remapped tokenizer. Says what held-out text costs before any training."""
EPILOG = """\
examples:
  ivr align
  ivr align --init-strategy pieces --compare-strategies
"""

MATRICES = tuple(
    f"{name}{suffix}"
    for name in ("original_wte", "original_wpe", "aligned_wte", "aligned_wpe", "final_wte")
    for suffix in (".pt", ".json")
)


def run(config: Config) -> Manifest:
    """Write the matrices and the aligned model."""
    paths = ArtifactPaths(config.artifacts_dir)
    check_options(config)
    base_dir = config.model_name or paths.base_model
    original_dir = config.original_tokenizer_dir or paths.original_tokenizer
    remapped_dir = config.remapped_tokenizer_dir or paths.remapped_tokenizer
    rules_path = config.remap_rules_path or paths.remap_rules
    corpus = config.cleaned_corpora_dir or paths.cleaned_corpora
    inputs = [
        Input(base_dir, made_by="" if config.model_name else "init"),
        Input(original_dir, made_by="" if config.original_tokenizer_dir else "init"),
        Input(remapped_dir, made_by="" if config.remapped_tokenizer_dir else "remap"),
        Input(rules_path, made_by="" if config.remap_rules_path else "remap"),
    ]
    if config.compare_strategies or config.init_strategy in READ_TEXT:
        inputs.append(Input(corpus, made_by="" if config.cleaned_corpora_dir else "init"))
    if config.heldout_bytes:
        inputs.append(Input(paths.heldout_corpora, made_by="init", optional=True))
    with open_stage("align", config, inputs) as stage:
        if stage.current:
            return stage.manifest
        folder = config.embeddings_output_dir or paths.embeddings
        stage.replaces(paths.aligned_model, *(folder / name for name in MATRICES))
        from ivr.embedding.extract import save_tensor
        from ivr.embedding.initialisers.body import one_way
        from ivr.embedding.model_directory import write_model_directory
        from ivr.embedding.reorder import reorder_rows, row_sources
        from ivr.embedding.strategies import Evidence
        from ivr.embedding.trials import Trial
        from ivr.embedding.vocabularies import check_pieces, check_sizes, vocabularies
        from ivr.embedding.weights import embedding_names, read_config, read_state
        from ivr.tokenizer.remap.rules import read_rules

        rules = read_rules(rules_path)
        original, remapped = vocabularies(original_dir, remapped_dir, rules)
        model_config = read_config(base_dir)
        state = read_state(base_dir)
        names = embedding_names(state, model_config, base_dir)
        wte_VD, wpe_CD = state[names.wte], state[names.wpe]
        check_sizes(model_config, wte_VD, original, base_dir, original_dir)

        swaps = sorted(rules.swaps, key=lambda swap: swap.id)
        source_V, new_ids = row_sources(original, remapped, swaps, wte_VD.shape[0])
        by_id = {swap.id: swap for swap in swaps}
        pieces = {swap.id: list(swap.pieces) for swap in swaps}
        check_pieces(new_ids, pieces, wte_VD.shape[0])
        kept_ids = sorted(set(remapped.values()) - set(new_ids))
        wte_source, wpe_source = ({"source": f"{name} of {base_dir.name}"} for name in (names.wte, names.wpe))
        outputs = save_tensor(folder / "original_wte.pt", wte_VD, wte_source)
        outputs += save_tensor(folder / "original_wpe.pt", wpe_CD, wpe_source)
        # positions have nothing to do with tokens: the aligned wpe is the original one
        outputs += save_tensor(folder / "aligned_wpe.pt", wpe_CD, wpe_source)

        roles = {names.wte: "both"} if names.head is None else {names.wte: "input", names.head: "output"}
        kept_rows = source_V[kept_ids].tolist()
        problems = [
            _problem(state[name], new_ids, kept_rows, pieces, model_config, config, role)
            for name, role in roles.items()
        ]
        aligned = [reorder_rows(state[name], source_V) for name in roles]
        carried = {"replaced_ids": new_ids, "rows_at_replaced_ids": "carried from the old token"}
        outputs += save_tensor(folder / "aligned_wte.pt", aligned[0], wte_source | carried)

        with one_way(config.threads, config.seed):
            trial = Trial(
                problems,
                aligned,
                new_ids,
                kept_ids,
                [by_id[token_id].new for token_id in new_ids],
                Evidence(
                    corpus,
                    remapped_dir,
                    source_V,
                    _body(config, model_config, state, names),
                    _effort(config),
                    config.seed,
                ),
                _heldout(config, paths, remapped_dir),
            )
            stage.results |= _try(config, trial)
        state |= dict(zip(roles, aligned, strict=True))
        made = {"replaced_ids": new_ids, "strategy": config.init_strategy, "seed": config.seed}
        outputs += save_tensor(folder / "final_wte.pt", aligned[0], wte_source | made)
        write_model_directory(paths.aligned_model, base_dir, model_config, state, names, remapped_dir)
        head = "tied" if names.head is None else "untied"
        stage.results |= {
            "rows": wte_VD.shape[0],
            "width": wte_VD.shape[1],
            "dtype": str(wte_VD.dtype).removeprefix("torch."),
            "head": head,
        }
        LOG.info(
            "align: %d of %d rows are new (%s), head %s", len(new_ids), wte_VD.shape[0], config.init_strategy, head
        )
        return stage.finish([*outputs, paths.aligned_model])


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
        LOG.info("align: bits per byte of held-out text before any training %.4f", results["bits_per_byte"])
    if config.compare_strategies:
        say(table(found))
        results["strategies"] = found
    return results


def _body(
    config: Config, model_config: dict[str, Any], state: "dict[str, torch.Tensor]", names: "EmbeddingNames"
) -> "Body | None":
    """The frozen model, where it is run at all."""
    from ivr.embedding.initialisers.body import Body

    if not (config.heldout_bytes or config.compare_strategies or config.init_strategy == "distill"):
        return None
    return Body(model_config, state, names, config.device)


def _heldout(config: Config, paths: ArtifactPaths, remapped_dir: Path) -> "DomainText | None":
    from ivr.corpus.documents import corpus_files
    from ivr.embedding.initialisers.domain_text import read_domain_text

    if not config.heldout_bytes or not corpus_files(paths.heldout_corpora):
        return None
    # always the same documents, whatever the seed
    text = read_domain_text(paths.heldout_corpora, remapped_dir, config.heldout_bytes, seed=0)
    return text if text.documents else None


def _effort(config: Config) -> "Effort":
    from ivr.embedding.strategies import Effort

    return Effort(config.text_bytes, config.snippets_per_token, config.snippet_tokens, config.max_snippets)


def _problem(
    base_VD: "torch.Tensor",
    new_ids: list[int],
    kept_ids: list[int],  # rows of the base matrix
    pieces: dict[int, list[int]],
    model_config: dict[str, Any],
    config: Config,
    role: str,
) -> "Problem":
    from ivr.embedding.initialisers.rows import Problem

    return Problem(
        base_VD=base_VD,
        new_ids=new_ids,
        kept_ids=kept_ids,
        pieces=[pieces[token_id] for token_id in new_ids],
        spread=float(model_config.get("initializer_range", 0.02)),
        seed=config.seed,
        stream=int(role == "output"),
        role=role,
    )
