"""The promotion stack: what Approved in the registry starts; see stack.py."""
