"""What attacks see of a model: one call that predicts noise, its schedule, and the arithmetic it is computed in."""
