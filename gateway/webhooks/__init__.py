"""Telling callers that their jobs ended."""
