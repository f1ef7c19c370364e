"""The pipeline: its definition, its settings, and the runner for one machine."""
