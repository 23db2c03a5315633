"""Programs on tokenizers, a room each, from left to right:

scores, proof, repeats, fit, verify, distill, select, remap. What they do and why: METHOD.md.
"""
