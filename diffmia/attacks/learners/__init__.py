"""What attacks learn with: networks, trees, and how they are fitted.

Everything of the attacks that imports torch or xgboost is here; an attack imports it only when it fits or scores.
"""
