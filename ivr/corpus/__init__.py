"""Reading, cleaning and splitting text; the base model; the built-in sample; stage `init`."""
