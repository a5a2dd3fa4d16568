"""Contestants, loads and rows of the serving benchmark: see benchmarks/adapters.py."""
