"""gpt2-ivr: exact BPE-to-Unigram migration, in-place vocabulary reassignment, realignment and fine-tuning of GPT-2."""

__version__ = "0.1.0"
