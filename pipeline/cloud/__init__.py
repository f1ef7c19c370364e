"""What ``slm`` does with an account: start, watch, push, approve, upload, and what it costs.

session.py     clients, and every error of AWS as one sentence
deployed.py    the deployed pipeline: its definition and its executions
starting.py    checks parameters and starts an execution
watching.py    an execution's steps as the runner's own events, and the log of a failing job
pushing.py     a run of this machine to S3, CloudWatch and the model registry
approving.py   a registered version's figures and its status
uploading.py   a dataset to the raw bucket
costs.py       what an execution and a month cost, by prices.toml

Leaves out: words on the screen (pipeline/cli/cloud.py), and making what is in the account (cdk/).
boto3 is imported where a client is made.
"""
