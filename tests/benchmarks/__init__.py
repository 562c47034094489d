"""Benchmarks: run by `contrib/benchmark`, never by the test run (no file begins with test_).

They measure and compare within one run; they assert nothing.
"""
