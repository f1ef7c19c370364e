"""An emulated account that the real ``cdk`` command deploys to, and what tests ask of it.

moto's CloudFormation makes most of our resources and passes over the rest; what the story needs of
the rest (the pipeline, the group of models) is made here with boto3 from the templates as they were
deployed. The buckets' policies are not put: moto would apply them without their conditions.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.settings import Settings
from tests.cdk.policies import resolve
from tests.cdk.synthesized import KEY_ID, Synthesized

DIGESTS = {"processing": "a" * 64, "training": "b" * 64}


@dataclass
class Account:
    """The emulator, a settings file, and the commands that work on both."""

    folder: Path
    repository: Path
    port: int

    @property
    def address(self) -> str:
        return f"http://localhost:{self.port}"  # moto takes a bucket's name for a host's otherwise

    @property
    def settings_file(self) -> Path:
        return self.folder / "dev.toml"

    @property
    def settings(self) -> Settings:
        return Settings.read(self.settings_file)

    def write_settings(self, **changes: str) -> None:
        """dev's settings with prebuilt images, some of their text replaced."""
        text = (self.repository / "pipeline/environments/dev.toml").read_text()
        for old, new in changes.items():
            text = text.replace(old, new)
        host = "111111111111.dkr.ecr.eu-west-1.amazonaws.com/slm-edge-dev"
        images = [f'{name} = "{host}/{name}@sha256:{hash_}"' for name, hash_ in DIGESTS.items()]
        self.settings_file.write_text("\n".join([text, "[images]", *images, ""]))

    def environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        programs = [str(Path(sys.executable).parent), own.get("PATH", "")]
        return {
            **own,
            "PATH": os.pathsep.join(programs),
            "PYTHONPATH": str(self.repository),
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ENDPOINT_URL_S3": self.address,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_REGION": "eu-west-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "OMP_NUM_THREADS": "1",
            "NO_COLOR": "1",
            "CI": "true",
        }

    def run(self, *command: str | Path, exit_code: int = 0) -> str:
        """Run a command to its end; what it printed."""
        done = subprocess.run(
            [str(word) for word in command],
            cwd=self.repository,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        printed = done.stdout + done.stderr
        assert done.returncode == exit_code, printed[-4000:]
        return printed

    def cdk(self, *arguments: str | Path) -> str:
        """The pinned command line tool, which ``make setup`` installs."""
        tool = self.repository / "node_modules/.bin/cdk"
        assert tool.exists(), "the cdk command is not installed: run make setup"
        return self.run(tool, *arguments)

    def synth(self, name: str) -> Path:
        out = self.folder / name
        context = ("-c", f"settings={self.settings_file}", "-c", "images=prebuilt")
        self.cdk("synth", "--quiet", *context, "--output", out)
        return out

    def deploy(self, assembly: Path) -> str:
        # moto's change sets lose exports; "direct" calls CreateStack and UpdateStack instead
        options = ("--require-approval", "never", "--method", "direct")
        return self.cdk("deploy", "--all", "--app", assembly, *options)

    def slm(self, *arguments: str | Path, exit_code: int = 0) -> str:
        command = (sys.executable, "-m", "pipeline.cli", *arguments)
        return self.run(*command, exit_code=exit_code)

    def cloud(self, command: str, *arguments: str | Path, exit_code: int = 0) -> str:
        """An ``slm`` command on this account."""
        where = ("--env", self.settings_file, "--endpoint-url", self.address)
        return self.slm(command, *arguments, *where, exit_code=exit_code)

    def client(self, service: str) -> Any:
        import boto3
        from botocore.config import Config

        return boto3.client(
            service,
            endpoint_url=self.address,
            region_name="eu-west-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            config=Config(s3={"addressing_style": "path"}),
        )

    @cached_property
    def parts(self) -> list[str]:
        """The stacks that were synthesized last, without what their names have in common."""
        newest = max(self.folder.glob("*/manifest.json"), key=lambda path: path.stat().st_mtime)
        artifacts = json.loads(newest.read_text())["artifacts"]
        stacks = [n for n, one in artifacts.items() if one["type"] == "aws:cloudformation:stack"]
        return [name.removeprefix(self.settings.stack_name("")) for name in stacks]

    def templates(self) -> dict[str, dict[str, Any]]:
        """What is deployed, by part, as CloudFormation has it."""
        get = self.client("cloudformation").get_template
        names = {part: self.settings.stack_name(part) for part in self.parts}
        return {p: json.loads(json.dumps(get(StackName=n)["TemplateBody"])) for p, n in names.items()}  # fmt: skip  # noqa: E501

    @cached_property
    def deployed(self) -> Synthesized:
        return Synthesized(self.settings, self.folder, self.templates())

    @cached_property
    def key_arn(self) -> str:
        alias = self.settings.kms_alias
        return self.client("kms").describe_key(KeyId=alias)["KeyMetadata"]["Arn"]

    @cached_property
    def names(self) -> dict[str, str]:
        """What references stand for, with the key that the account really made."""
        own = self.key_arn.rpartition("/")[2]
        return {name: value.replace(KEY_ID, own) for name, value in self.deployed.names.items()}

    def properties(self, kind: str) -> list[dict[str, Any]]:
        """The resolved properties of every deployed resource of a type."""
        found = self.deployed.resources(kind).values()
        return [resolve(one["Properties"], self.names) for one in found]

    def make_what_is_passed_over(self) -> None:
        """The pipelines and the group of models, from the deployed templates."""
        sagemaker = self.client("sagemaker")
        for pipeline in self.properties("AWS::SageMaker::Pipeline"):
            sagemaker.create_pipeline(
                PipelineName=pipeline["PipelineName"],
                PipelineDefinition=pipeline["PipelineDefinition"]["PipelineDefinitionBody"],
                RoleArn=pipeline["RoleArn"],
                ClientRequestToken="0" * 32,
            )
        [group] = self.properties("AWS::SageMaker::ModelPackageGroup")
        sagemaker.create_model_package_group(ModelPackageGroupName=group["ModelPackageGroupName"])

    def bucket_policy(self, bucket: str) -> list[dict[str, Any]]:
        """The statements of a bucket's policy, as deployed."""
        [policy] = [p for p in self.properties("AWS::S3::BucketPolicy") if p["Bucket"] == bucket]
        return policy["PolicyDocument"]["Statement"]

    def requests(self) -> list[dict[str, str]]:
        """Every request so far, as the emulator wrote it down."""
        lines = (self.folder / "requests.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


@contextmanager
def emulated_account(folder: Path, repository: Path) -> Iterator[Account]:
    """An empty account with the number of dev's settings, in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    account = Account(folder, repository, port)
    account.write_settings()
    with (folder / "emulator.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.emulator", str(port), str(folder / "requests.jsonl")],
            cwd=repository,
            env={**account.environment(), "MOTO_ACCOUNT_ID": account.settings.account},
            stdout=log,
            stderr=log,
        )
    try:
        _wait_for(account.address, server)
        yield account
    finally:
        server.terminate()
        server.wait(timeout=30)


def _wait_for(address: str, server: subprocess.Popen[Any], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/moto-api/", timeout=5).close()  # noqa: S310 - ours
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the emulator did not start")
