"""Compiles the trained model for the device, and proves that it still gives the same answers."""
