"""Raw utterances in, clean and tokenized splits out: the pipeline's first step.

``python -m steps.prepare`` runs it as a job; :func:`steps.prepare.job.prepare` is the same as a
function. It reads the raw folder once (:mod:`~steps.prepare.reading`), cleans every row
(:mod:`~steps.prepare.cleaning`), spreads rows over files by a hash of their normalised text so
that duplicates meet (:mod:`~steps.prepare.buckets`), resolves duplicates, conflicts and leaks
(:mod:`~steps.prepare.resolving`), lets Great Expectations judge the result
(:mod:`~steps.prepare.validation`), then splits (:mod:`~steps.prepare.splitting`), tokenizes
(:mod:`~steps.prepare.tokenizing`) and writes. Memory is bounded by one bucket and one batch,
not by the data.
"""
