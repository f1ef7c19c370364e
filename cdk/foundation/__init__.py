"""What outlives a deployment: the keys, the buckets, the alert topic and the budget."""
