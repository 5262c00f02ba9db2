"""Statistics: confidence intervals, means over seeds, and paired comparisons. The only place of these formulas.

- `intervals`: Wilson's score interval of a share
- `paired`: two classifiers on the same images (Agresti and Min's interval, McNemar's exact test)
- `means`: Student's interval of a mean, paired differences over seeds, Bonferroni's correction
- `average_precision`: average precision of classes, bootstrap intervals of its mean, and thresholds of highest F1
- `distributions`: quantiles and tails, without SciPy
"""
