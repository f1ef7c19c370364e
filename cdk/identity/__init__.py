"""Permission sets of IAM Identity Center: what people may do."""
