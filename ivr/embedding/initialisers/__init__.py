"""How the row of a new token is made: formulas over the matrix, `focus`, and distillation through the frozen model."""
