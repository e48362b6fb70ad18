"""Torii's tests."""
