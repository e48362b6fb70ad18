"""Talking to PixelDojo: one attempt, one poll, one download at a time, and what each answer means."""
