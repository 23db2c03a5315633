"""The base model: its directory, tokenizer and Hub, checked and pinned; the built-in sample's model; stage `init`."""
