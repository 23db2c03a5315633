"""Stage `align`: give every reassigned id a new embedding row; everything else stays as it is, bit for bit.

    base model + rules -> original_{wte,wpe} -> aligned_{wte,wpe} (reordered) -> final_wte (initialised) -> model

The model's other tensors are copied from file to file: no model object is built, nothing changes its dtype.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ivr.artifacts import ArtifactPaths, sha256_file
from ivr.console import LOG
from ivr.errors import ConfigError, CorruptInputError, StaleInputError
from ivr.stage import Input, Manifest, open_stage

if TYPE_CHECKING:
    import torch

    from ivr.embedding.initialisers import Problem

STRATEGIES = ("mean", "random", "zeros", "pieces")  # initialisers.INITIALISERS, without importing torch for --help

DESCRIPTION = """\
Extract the base model's embedding matrices, reorder their rows by the remap rules, initialise the rows of new
tokens, and write the aligned model: the base model in everything else, with the remapped tokenizer."""
EPILOG = """\
examples:
  ivr align
  ivr align --init-strategy pieces --seed 1
"""


@dataclass(frozen=True)
class Config:
    artifacts_dir: Path = Path("artifacts")
    force: bool = False
    model_name: Path | None = None
    original_tokenizer_dir: Path | None = None
    remapped_tokenizer_dir: Path | None = None
    remap_rules_path: Path | None = None
    embeddings_output_dir: Path | None = None
    init_strategy: str = "mean"
    seed: int = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The stage's options."""
    inputs = parser.add_argument_group("inputs")
    inputs.add_argument(
        "--model-name",
        type=Path,
        default=Config.model_name,
        metavar="DIR",
        help="local directory of the base model (default: ARTIFACTS_DIR/models/base)",
    )
    inputs.add_argument(
        "--original-tokenizer-dir",
        type=Path,
        default=Config.original_tokenizer_dir,
        metavar="DIR",
        help="the base model's tokenizer (default: ARTIFACTS_DIR/tokenizers/original)",
    )
    inputs.add_argument(
        "--remapped-tokenizer-dir",
        type=Path,
        default=Config.remapped_tokenizer_dir,
        metavar="DIR",
        help="what `ivr remap` wrote (default: ARTIFACTS_DIR/tokenizers/remapped)",
    )
    inputs.add_argument(
        "--remap-rules-path",
        type=Path,
        default=Config.remap_rules_path,
        metavar="FILE",
        help="the rules (default: ARTIFACTS_DIR/tokenizers/remapped/remap_rules.yaml)",
    )
    work = parser.add_argument_group("new rows")
    work.add_argument(
        "--init-strategy",
        choices=STRATEGIES,
        default=Config.init_strategy,
        help="how a new token's row is made: mean of all kept rows, random normal, zeros, or the mean of the rows of "
        "its pieces under the original tokenizer (default: %(default)s)",
    )
    work.add_argument(
        "--seed", type=int, default=Config.seed, metavar="N", help="seed of `random` (default: %(default)s)"
    )
    outputs = parser.add_argument_group("outputs")
    outputs.add_argument(
        "--embeddings-output-dir",
        type=Path,
        default=Config.embeddings_output_dir,
        metavar="DIR",
        help="where the .pt and .json files go (default: ARTIFACTS_DIR/embeddings)",
    )


def run(config: Config) -> Manifest:
    """Write the matrices and the aligned model."""
    paths = ArtifactPaths(config.artifacts_dir)
    if config.seed < 0:
        raise ConfigError(f"--seed {config.seed}: must not be negative")
    base_dir = config.model_name or paths.base_model
    original_dir = config.original_tokenizer_dir or paths.original_tokenizer
    remapped_dir = config.remapped_tokenizer_dir or paths.remapped_tokenizer
    rules_path = config.remap_rules_path or paths.remap_rules
    inputs = [
        Input(base_dir, made_by="" if config.model_name else "init"),
        Input(original_dir, made_by="" if config.original_tokenizer_dir else "init"),
        Input(remapped_dir, made_by="" if config.remapped_tokenizer_dir else "remap"),
        Input(rules_path, made_by="" if config.remap_rules_path else "remap"),
    ]
    with open_stage("align", config, inputs) as stage:
        if stage.current:
            return stage.manifest
        from ivr.embedding.extract import save_tensor
        from ivr.embedding.initialisers import INITIALISERS, fill_rows
        from ivr.embedding.model_directory import write_model_directory
        from ivr.embedding.reorder import reorder_rows, row_sources
        from ivr.embedding.statistics import row_statistics
        from ivr.embedding.weights import embedding_names, read_config, read_state
        from ivr.tokenizer.rules import read_rules

        rules = read_rules(rules_path)
        original, remapped = _vocabularies(original_dir, remapped_dir, rules)
        model_config = read_config(base_dir)
        state = read_state(base_dir)
        names = embedding_names(state, model_config, base_dir)
        wte_VD, wpe_CD = state[names.wte], state[names.wpe]
        _check_sizes(model_config, wte_VD, original, base_dir, original_dir)

        swaps = sorted(rules.swaps, key=lambda swap: swap.id)
        source_V, new_ids = row_sources(original, remapped, swaps, wte_VD.shape[0])
        pieces = {swap.id: list(swap.pieces) for swap in swaps}
        kept_ids = sorted(set(remapped.values()) - set(new_ids))
        folder = config.embeddings_output_dir or paths.embeddings
        wte_source, wpe_source = ({"source": f"{name} of {base_dir.name}"} for name in (names.wte, names.wpe))
        outputs = save_tensor(folder / "original_wte.pt", wte_VD, wte_source)
        outputs += save_tensor(folder / "original_wpe.pt", wpe_CD, wpe_source)
        # positions have nothing to do with tokens: the aligned wpe is the original one
        outputs += save_tensor(folder / "aligned_wpe.pt", wpe_CD, wpe_source)

        for stream, name in enumerate(filter(None, (names.wte, names.head))):
            problem = _problem(state[name], new_ids, source_V[kept_ids].tolist(), pieces, model_config, config, stream)
            aligned_VD = reorder_rows(state[name], source_V)
            final_VD = fill_rows(aligned_VD, new_ids, INITIALISERS[config.init_strategy](problem))
            state[name] = final_VD
            if stream == 0:
                carried = {"replaced_ids": new_ids, "rows_at_replaced_ids": "carried from the old token"}
                outputs += save_tensor(folder / "aligned_wte.pt", aligned_VD, wte_source | carried)
                made = {"replaced_ids": new_ids, "strategy": config.init_strategy, "seed": config.seed}
                outputs += save_tensor(folder / "final_wte.pt", final_VD, wte_source | made)

        write_model_directory(paths.aligned_model, base_dir, model_config, state, names, remapped_dir)
        head = "tied" if names.head is None else "untied"
        stage.results |= row_statistics(state[names.wte], kept_ids, new_ids) | {
            "strategy": config.init_strategy,
            "rows": wte_VD.shape[0],
            "width": wte_VD.shape[1],
            "dtype": str(wte_VD.dtype).removeprefix("torch."),
            "head": head,
        }
        LOG.info(
            "align: %d of %d rows are new (%s), head %s", len(new_ids), wte_VD.shape[0], config.init_strategy, head
        )
        return stage.finish([*outputs, paths.aligned_model])


def _vocabularies(original_dir: Path, remapped_dir: Path, rules: Any) -> tuple[dict[str, int], dict[str, int]]:
    """Token string -> id of both tokenizers. Refuses rules that were made for another original tokenizer."""
    original_file = original_dir / "tokenizer.json"
    if not original_file.is_file():
        raise CorruptInputError(f"{original_dir} is no tokenizer directory: it holds no tokenizer.json")
    digest = sha256_file(original_file)
    if digest != rules.original_tokenizer_sha256:
        raise StaleInputError(
            f"the rules were made for an original tokenizer with sha256 {rules.original_tokenizer_sha256[:16]}, and "
            f"{original_file} has {digest[:16]}; run `ivr remap` again"
        )
    return _vocabulary(original_file), _vocabulary(remapped_dir / "tokenizer.json")


def _vocabulary(path: Path) -> dict[str, int]:
    from tokenizers import Tokenizer

    if not path.is_file():
        raise CorruptInputError(f"{path.parent} is no tokenizer directory: it holds no tokenizer.json")
    try:
        return dict(Tokenizer.from_file(str(path)).get_vocab(with_added_tokens=True))
    except BaseException as error:  # a bad file makes tokenizers panic, which is no Exception
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise CorruptInputError(f"{path} is not a tokenizer that can be loaded: {error}") from None


def _check_sizes(
    model_config: dict[str, Any], wte_VD: "torch.Tensor", original: dict[str, int], base_dir: Path, tokenizer_dir: Path
) -> None:
    """The matrix, the config and the tokenizer must agree; rows beyond the tokenizer's ids are padding."""
    stated = model_config.get("vocab_size", 50257)
    if wte_VD.ndim != 2 or wte_VD.shape[0] != stated:
        raise CorruptInputError(f"{base_dir}: config.json says vocab_size {stated}, wte has shape {list(wte_VD.shape)}")
    needed = max(original.values()) + 1
    if needed > wte_VD.shape[0]:
        raise ConfigError(
            f"{tokenizer_dir} needs {needed} embedding rows, {base_dir} has {wte_VD.shape[0]}: "
            "this tokenizer is not this model's"
        )


def _problem(
    base_VD: "torch.Tensor",
    new_ids: list[int],
    kept_ids: list[int],  # rows of the base matrix
    pieces: dict[int, list[int]],
    model_config: dict[str, Any],
    config: Config,
    stream: int,
) -> "Problem":
    from ivr.embedding.initialisers import Problem

    for token_id in new_ids:
        wrong = [piece for piece in pieces[token_id] if not 0 <= piece < base_VD.shape[0]]
        if wrong or not pieces[token_id]:
            raise CorruptInputError(f"the rule for id {token_id} has pieces {pieces[token_id]}, which are no rows")
    return Problem(
        base_VD=base_VD,
        new_ids=new_ids,
        kept_ids=kept_ids,
        pieces=[pieces[token_id] for token_id in new_ids],
        spread=float(model_config.get("initializer_range", 0.02)),
        seed=config.seed,
        stream=stream,
    )
