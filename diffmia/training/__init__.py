"""Training of targets: the trainer, what it is given, and the stage."""
