"""A stand-in for the runtime, from a test."""
