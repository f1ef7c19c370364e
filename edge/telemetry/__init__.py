"""What a device tells about itself: counts over a window of time, never what anybody said.

::

    telemetry = Telemetry.start(settings, root, {"component": "1.0.3", "model": "3"})
    telemetry.observe(prediction, characters=len(text), seconds=0.0011)
    telemetry.error("overload")
    telemetry.close()

What is counted, and why that is safe: docs/device.md; what is made of it: docs/drift.md.

What it leaves out: judging the counts. Whoever has the windows and the model's reference does.
"""

from edge.telemetry.recording import Telemetry
from edge.telemetry.window import ERRORS

__all__ = ["ERRORS", "Telemetry"]
