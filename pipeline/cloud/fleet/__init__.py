"""What ``slm fleet`` does with devices.

provisioning.py  a thing, its certificate and its folder of configuration
files.py         what that folder holds
packages.py      the package step's output as a component version of the account
deployments.py   a component version into a group, merged into what the group has
following.py     how far a group's devices are with a deployment
releasing.py     canary first, then the fleet; and back
showing.py       devices, their versions and their health

Leaves out: words on the screen (pipeline/cli/fleet.py), and what the account must have (cdk/edge).
"""
