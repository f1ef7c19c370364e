"""``python -m pipeline.cli`` is ``slm``."""

from pipeline.cli import main

main()
