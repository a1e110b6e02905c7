"""Networks of the attacks that learn, and how they are fitted.

Everything of the attacks that imports torch is here; an attack imports it only when it fits or scores.
"""
