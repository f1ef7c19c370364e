"""What outlives a deployment: the key, the buckets, the alert topic and the budget."""
