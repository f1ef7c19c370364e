"""Installs packages beside each other, serves the newest good one, and goes back by itself."""
