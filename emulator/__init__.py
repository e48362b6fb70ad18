"""A stand-in PixelDojo for development and tests: met over TCP, imports nothing of Torii."""
