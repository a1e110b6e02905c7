"""Per-sample gradient norms of any model and loss, many rows at once."""
