"""What the modules `univariate` and `multivariate` have in common: one map, many back ends."""
