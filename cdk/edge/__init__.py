"""What devices meet in the account: their policy, role and groups, and the rule for telemetry."""
