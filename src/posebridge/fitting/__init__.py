"""Fitting hand models to depth measurements."""
