"""The weights of a base model: which tensors, in which files, whether they fit its config; one file made of them."""
