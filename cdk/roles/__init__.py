"""The service roles: one for the pipeline, one for each kind of job, one for retraining."""
