"""The pipeline's steps: what runs inside a SageMaker job.

Each sub-package is one step and is run as ``python -m steps.NAME``. A step reads folders,
writes folders and never knows whether it runs on AWS, on a laptop or in a test.
"""
