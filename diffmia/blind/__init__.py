"""Blind baselines: members told from non-members by the samples alone, without one question to a model.

Where a blind baseline is above chance the two sets differ by more than membership, and no attack's number on them is
evidence of membership alone (Das et al. 2024, arXiv 2406.16201; CopyMark, arXiv 2411.15640). Most of these
modules import scikit-learn, torch or Pillow, and are imported where images are judged.
"""

import math

# DeLong's and the bootstrap's standard error of an AUC of such scores take them for independent, and are too small by
# about this factor where there is nothing to find. "i judged by a model that saw j" and "j judged by one that saw i"
# are the same evidence counted twice: of a linear classifier, the sum over folds k of d_k . d_(-k), d the difference of
# class means in a fold and in the others, has twice the variance that it would have if its terms were independent.
# In the simulation that `cross_validation.py` describes the AUC's spread was 1.33 to 1.42 of DeLong's mean standard
# error, and the 95 % interval lay above 50 in 5 to 9 % of cases of nothing, instead of 2.5 %; widened by this factor,
# in 1 to 3 %. Of random halves of the digits (256 + 256, 5 folds) the spread was 1.35 of DeLong's by statistics, and
# 1.2 to 1.3 by the network.
STANDARD_ERROR_FACTOR = math.sqrt(2)
