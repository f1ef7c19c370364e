"""Step *evaluate*: how good the trained model is, whether it may be released, and a report."""
