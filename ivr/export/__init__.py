"""The trained model and its tokenizer in the form in which other programs load them."""
