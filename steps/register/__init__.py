"""Adds a trained, evaluated model to the registry with everything one asks about it later."""
