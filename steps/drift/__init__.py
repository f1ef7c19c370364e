"""Tells from the devices' counts alone whether their users still speak as the model was tested.

    windows (edge/telemetry) -> read, checked, added up by device -> compared with the reference of
    the same component version -> drift.json, drift.html, metrics, an event where there is drift

docs/drift.md says what is tested and why, and what cannot be seen.
"""
