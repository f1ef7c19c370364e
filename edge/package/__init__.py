"""Decides whether a package is good: who signed it, what is in it, whether it fits this machine."""
