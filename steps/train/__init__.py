"""Step *train*: fine-tunes a base model into an intent classifier.

Run as ``python -m steps.train`` in a SageMaker training container; see ``__main__.py``. The one
pure function is :func:`steps.train.train.train`. What it reads and writes is described in
``docs`` and in :mod:`steps.intent_model`.
"""
