"""The runner's own overhead: what ``slm run`` adds to the jobs that it runs.

``python -m benchmarks.runner`` runs a chain of Processing jobs that do nothing through the runner,
and the same commands bare, one after the other; then the same definition again, all from the
cache. It leaves out building the definition, which ``slm run`` does once a run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
PROGRAM = (
    "import os, pathlib; root = pathlib.Path(os.environ.get('SLM_ML_ROOT', '/nowhere'));"
    "out = root / 'processing/output/out';"
    "out.is_dir() and (out / 'file.txt').write_text('done')"
)


def chain(jobs: int) -> dict[str, Any]:
    """A definition of ``jobs`` Processing steps, each reading what the one before wrote."""
    steps: list[dict[str, Any]] = []
    for number in range(jobs):
        inputs = []
        if number:
            uri = {
                "Get": f"Steps.Job{number - 1}.ProcessingOutputConfig.Outputs['out'].S3Output.S3Uri"
            }
            inputs = [
                {
                    "InputName": "before",
                    "AppManaged": False,
                    "S3Input": {
                        "S3Uri": uri,
                        "LocalPath": "/opt/ml/processing/input/before",
                        "S3DataType": "S3Prefix",
                        "S3InputMode": "File",
                        "S3DataDistributionType": "FullyReplicated",
                        "S3CompressionType": "None",
                    },
                }
            ]
        output = {
            "OutputName": "out",
            "AppManaged": False,
            "S3Output": {
                "S3Uri": {
                    "Std:Join": {
                        "On": "/",
                        "Values": [
                            "s3://benchmark",
                            {"Get": "Execution.PipelineExecutionId"},
                            str(number),
                        ],
                    }
                },
                "LocalPath": "/opt/ml/processing/output/out",
                "S3UploadMode": "EndOfJob",
            },
        }
        steps.append(
            {
                "Name": f"Job{number}",
                "Type": "Processing",
                "Arguments": {
                    "AppSpecification": {
                        "ImageUri": "benchmark:local",
                        "ContainerEntrypoint": ["python", "-c", PROGRAM],
                    },
                    "ProcessingResources": {
                        "ClusterConfig": {
                            "InstanceType": "ml.m5.large",
                            "InstanceCount": 1,
                            "VolumeSizeInGB": 1,
                        }
                    },
                    "RoleArn": "arn:aws:iam::000000000000:role/benchmark",
                    "ProcessingInputs": inputs,
                    "ProcessingOutputConfig": {"Outputs": [output]},
                },
                "CacheConfig": {"Enabled": True, "ExpireAfter": "P1D"},
            }
        )
    return {"Version": "2020-12-01", "Metadata": {}, "Parameters": [], "Steps": steps}


def main() -> None:
    """Run the chain three ways and print the table."""
    from pipeline.local import RunOptions, run

    parser = argparse.ArgumentParser(prog="benchmarks.runner", description=__doc__)
    parser.add_argument("--jobs", type=int, default=20)
    jobs = parser.parse_args().jobs

    began = time.perf_counter()
    for _ in range(jobs):
        subprocess.run([sys.executable, "-c", PROGRAM], check=True)
    bare = (time.perf_counter() - began) / jobs

    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as home:
        for what in ("through the runner", "from the cache"):
            options = RunOptions(home=Path(home), parameters={}, source=REPOSITORY)
            began = time.perf_counter()
            execution = run(chain(jobs), options, lambda event: None)
            seconds[what] = (time.perf_counter() - began) / jobs
            assert execution.status == "Succeeded", execution.failure_reason
    print(f"{'a job that does nothing':28} {'ms':>8} {'times bare':>11}")
    print(f"{'bare process (the peer)':28} {bare * 1e3:8.1f} {1:11.1f}")
    for what, value in seconds.items():
        print(f"{what:28} {value * 1e3:8.1f} {value / bare:11.1f}")


if __name__ == "__main__":
    main()
