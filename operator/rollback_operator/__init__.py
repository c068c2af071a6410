"""Rollback Operator: brings a bad release back, exactly once, and writes down what it did."""

__version__ = "0.1.0"
