"""How scores are judged, as said in `config.yaml`; apart from the code that judges, which takes long to import."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from diffmia.spec import Distinct, Spec

Share = Annotated[float, Field(gt=0, lt=1)]


class EvaluationSpec(Spec):
    """How scores are judged."""

    bootstrap: int = Field(1000, ge=100, description="Stratified bootstrap resamples behind each confidence interval")
    confidence: Share = Field(0.95, description="Level of the percentile confidence intervals")
    threshold_fraction: Share = Field(0.1, description="Share of each class that chooses the threshold of the ASR")
    threshold_repeats: int = Field(10, ge=2, description="How often that share is drawn; the ASR is the mean")
    fprs: Distinct[Share] = Field((0.05, 0.01, 0.001), description="False positive rates at which the TPR is taken")
