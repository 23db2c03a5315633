"""Bits per byte against EleutherAI's lm-evaluation-harness, the field's own measure, on a small task made here.

The harness is no dependency of the project: `make test-lm-eval` installs it (a dependency group) and runs this.
"""

import json
from pathlib import Path

import pytest
from builders import END, bpe_tokenizer, documents, save_tokenizer, tiny_model

from ivr.corpus.document_end import end_of_text_id
from ivr.corpus.packing import encode_documents
from ivr.encoding.text.tokenizer_file import load_for_text
from ivr.evaluation.bits_per_byte import score_documents

TASK = """\
task: ivr_small
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
output_type: loglikelihood_rolling
test_split: test
doc_to_text: ""
doc_to_target: "{{{{text}}}}"
metric_list:
  - metric: bits_per_byte
"""


@pytest.mark.slow
def test_lm_evaluation_harness_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed; `make test-lm-eval` does it")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
    from transformers import AutoTokenizer

    save_tokenizer(bpe_tokenizer(), tmp_path / "model")
    tokenizer = load_for_text(tmp_path / "model")
    model = tiny_model(tokenizer.get_vocab_size()).eval()
    texts = documents(6, seed=8, words=120)  # the context is 32: most are read through several windows
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    (tmp_path / "ivr_small.yaml").write_text(TASK.format(data=tmp_path / "texts.jsonl"))

    encoded = list(encode_documents(tokenizer, texts))
    assert max(len(ids) for _, ids in encoded) > 3 * 32
    # a stride of the whole context is the harness's: windows share nothing, the last one is filled up to the left
    ours = score_documents(model, encoded, end_of_text_id(tokenizer, tmp_path), context=32, stride=32, device="cpu")

    loaded = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert loaded.eos_token == END
    harness = HFLM(pretrained=model, tokenizer=loaded, backend="causal", max_length=32, batch_size=1)
    found = simple_evaluate(
        model=harness,
        tasks=["ivr_small"],
        task_manager=TaskManager(include_path=str(tmp_path), include_defaults=False),
        bootstrap_iters=0,
    )
    assert found["results"]["ivr_small"]["bits_per_byte,none"] == pytest.approx(ours.bits_per_byte, rel=1e-5)
