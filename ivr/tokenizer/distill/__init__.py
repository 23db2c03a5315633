"""BPE -> Unigram with the same ids and encoding, and its certificate; stage `distill-tokenizer`."""
