"""How raw files are read: their encodings, the shapes of JSON, pieces for several processes."""
