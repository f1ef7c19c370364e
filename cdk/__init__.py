"""What exists in an AWS account: the stacks that ``cdk deploy`` stands up, in AWS CDK for Python.

Every name comes from ``pipeline.settings``; a stack wires, and a construct is one capability.
Leaves out: what runs inside the jobs (steps/) and the pipeline's definition (pipeline/).
"""
