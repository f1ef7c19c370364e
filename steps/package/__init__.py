"""Packs the compiled model and its runtime into one Greengrass component."""
