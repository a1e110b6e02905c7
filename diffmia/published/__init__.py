"""What was published, as data: results and sample sizes of the papers' tables, and the register of models."""

from pathlib import Path

PUBLISHED = Path(__file__).parent
