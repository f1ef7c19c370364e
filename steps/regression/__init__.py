"""The regression set: what a model must go on doing, whatever it is trained on next.

A dataset may carry it as ``regression.jsonl``. *prepare* checks it and hands it on
(:mod:`steps.prepare.regression`), *evaluate* and *compile* put it to the trained and to the
compiled model. :mod:`~steps.regression.cases` is the format, :mod:`~steps.regression.judging` says
which cases a model passes. The kinds of test are those of CheckList (Ribeiro et al. 2020,
arXiv:2005.04118): minimum functionality (``must_pass``, ``must_reject``), ``invariance`` and
``direction``.
"""
