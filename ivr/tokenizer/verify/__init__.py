"""Are two tokenizers the same? Knows nothing of how either was made; stage `verify`."""
