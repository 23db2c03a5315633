"""What else one could do with K ids: written from the papers' descriptions, sharing no algorithm with `ivr select`."""
