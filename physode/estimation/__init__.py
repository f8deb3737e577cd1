"""Estimation of the constants of anybody's equation from what was observed, in any number of experiments."""
