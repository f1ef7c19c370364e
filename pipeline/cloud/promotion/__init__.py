"""An approved version on its way to the devices: ``slm promote``, and the function behind Approved.

    verify -> copy -> canary -> watch -> fleet -> done
    verify, copy              -> refused
    canary, watch, fleet      -> roll-back -> rolled-back

record.py        where a promotion stands: one object in S3, replaced only by whoever read it last
environments.py  which environment promotes to which
versions.py      the version in the model registry, and the history that is written with it
artifacts.py     the version's package and model: found, fetched, compared with their hashes
copying.py       the same bytes in the target: component, signature, model, registry
windows.py       what the canary's devices counted, added up
verdict.py       whether that is good enough
steps.py         one function for each state
promoting.py     one step at a time, by one runner at a time, of one version at a time
watching.py      the account's own promotion, started and looked at
handler.py       the function in the account: one step, and how long to wait
folder.py        the same on one machine: a folder for devices that are not in an account

Nothing here is rebuilt or trained: bytes are compared and copied. What the function needs imports
neither pydantic nor cryptography, because it has neither. Leaves out: approving
(pipeline/cloud/approving.py).
"""
