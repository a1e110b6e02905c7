"""From scores to metrics: the ROC, thresholds, resampling and tests, and the stage that joins them."""
