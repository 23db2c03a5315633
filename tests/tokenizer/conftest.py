"""Tiny runs that stand after `analyze`, `distill-tokenizer`, `select` and `remap`; each is built once and copied."""

import shutil
from collections.abc import Callable

import pytest
from gpt2_texts import BESIDE_OTHERS, RUNS
from tiny_run import GENERAL_WORDS, NASTY, RARE, SWAPS, WORDS, TinyRun, domain_documents, learnt_merges
from tokenizers import Tokenizer

from ivr.analysis.pretokens import PretokenSplitter
from ivr.artifacts import ArtifactPaths
from ivr.encoding.bpe import read_bpe


def general_documents() -> list[str]:
    words = [*GENERAL_WORDS, *WORDS[:4]]
    return [" ".join(words[(first + step * 7) % len(words)] for step in range(30)) for first in range(40)]


@pytest.fixture(scope="session")
def _built(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    run = TinyRun(tmp_path_factory.mktemp("run"))
    documents, general = domain_documents(), general_documents()
    known = [" ".join(word for word in text.split(" ") if not any(rare in word for rare in RARE)) for text in documents]
    with pytest.MonkeyPatch.context() as patch:  # it imports transformers; tests/corpus sees to it
        patch.setattr("ivr.base.model_directory.check_auto_tokenizer", lambda folder, origin: None)
        # general words are learnt last: among ids that cost nothing the last one goes first
        merges = learnt_merges([*known * 3, *NASTY * 30, *general[:20]], num_merges=520)
        assert {"Ġ" + word for word in GENERAL_WORDS} <= {left + right for left, right in merges}
        assert run("init", *run.write_inputs(merges, documents, general)) == 0
    assert run("analyze") == 0
    return run


@pytest.fixture(scope="session")
def copy_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[TinyRun], TinyRun]:
    def copy(run: TinyRun) -> TinyRun:
        root = tmp_path_factory.mktemp("copy")
        shutil.copytree(run.root, root, dirs_exist_ok=True)
        twin = TinyRun(root)
        twin.paths = ArtifactPaths(root / "artifacts")
        return twin

    return copy


@pytest.fixture(scope="session")
def analyzed(_built: TinyRun) -> TinyRun:
    """Do not change it: copy it."""
    return _built


@pytest.fixture(scope="session")
def distilled(analyzed: TinyRun, copy_run: Callable[[TinyRun], TinyRun]) -> TinyRun:
    run = copy_run(analyzed)
    assert run("distill-tokenizer") == 0
    return run


@pytest.fixture(scope="session")
def remapped(distilled: TinyRun, copy_run: Callable[[TinyRun], TinyRun]) -> TinyRun:
    run = copy_run(distilled)
    assert run("select", "--swaps", str(SWAPS)) == 0
    assert run("remap") == 0
    return run


@pytest.fixture
def fresh(remapped: TinyRun, copy_run: Callable[[TinyRun], TinyRun]) -> TinyRun:
    """A copy of the whole run, for one test to change."""
    return copy_run(remapped)


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What a stage has said on stderr."""
    return lambda: capfd.readouterr().err


@pytest.fixture(scope="session")
def distilled_gpt2(gpt2: Tokenizer) -> Tokenizer:
    """GPT-2's tokenizer as a Unigram one, fitted to repeats beside other characters; it takes three minutes."""
    from ivr.tokenizer.distill.pipeline import distill

    split = PretokenSplitter(gpt2)
    texts = [*BESIDE_OTHERS, *RUNS, *RARE, " carcinomas", " the protein", "Ph", "c1"]
    return distill(
        gpt2, read_bpe(gpt2), sorted({pretoken for text in texts for pretoken in split(text)}), 3.0
    ).tokenizer
