"""Text: reading, cleaning, splitting into parts, packing into token ids; the built-in sample's text."""
