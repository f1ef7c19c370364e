"""Pictures and tables of the account, made from the synthesized templates by ``make diagram``.

    python -m cdk.drawing [--assembly FOLDER] [--docs FOLDER]

account.py         the templates as resources, with every reference resolved
access.py          which principal may do what to which resource
graph.py           resources as nodes, and which of them starts, tells or feeds which: edges.py
cards.py           what the card of a resource says; release.py has those of the delivery
canvas.py          rectangles, lines and text as SVG
infrastructure.py  docs/images/infrastructure.svg
security.py        docs/images/security.svg
dashboard.py       docs/images/dashboard.svg, with figures of simulated.py
metric_math.py     what an expression of CloudWatch comes to
roles.py           docs/roles.md, with the reasons of reasons.py

Nothing is written down twice: what the templates do not hold is not drawn. The bytes depend on the
templates alone, so a test compares what is committed with what they say today.

Leaves out: the pipeline's own steps (``slm show --diagram``).
"""
