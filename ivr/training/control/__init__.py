"""The control: the base model trained on the same text, so that what training gives is not taken for the swaps."""
