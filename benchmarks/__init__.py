"""Measurements: ratios and figures from one run on one machine, never asserted as times."""
