"""What the delivery pipeline and the workflows of GitHub do, a command each of ``slm deliver``.

environments.py   which environments are delivered to, and from where
access.py         the role that an environment gives to whoever delivers to it
images.py         builds the images once, and names them by digest
deploying.py      ``cdk deploy`` with those images
running.py        an execution on this commit, waited for, and what it left behind
nucleus.py        carries a component's recipe out, as a device does
device.py         a package's lifecycle on this machine: installed, asked, stopped
figures.py        what the approval shows: figures, beside the champion's
promoting.py      the very bytes that were approved, and no others
variables.py      hands values from one step to the next

Leaves out: what runs these commands (cdk/delivery, .github/workflows), and what becomes of a
version that is approved (pipeline/cloud/promotion).
"""
