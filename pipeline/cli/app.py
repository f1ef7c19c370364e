"""The commands of ``slm``: each reads its options, calls what does the work, and prints.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 drift found, 130 stopped. An error is one sentence on
the error output; a traceback is a bug.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pipeline.cli import cloud, delivery, drift, fleet, promoting
from pipeline.local.errors import PipelineError, UsageError
from pipeline.settings import SettingsError

FAILED, USAGE, STOPPED = 1, 2, 130

_EXTRAS = {
    "boto3": "local",
    "cryptography": "edge",
    "jinja2": "local",
    "sagemaker": "local",
    "numpy": "edge",
    "onnxruntime": "edge",
    "tokenizers": "edge",
    "matplotlib": "local",
    "mlflow": "processing",
}
"""Which extra brings a package that a command needs."""


class _Commands(TyperGroup):
    """Turns the errors that users can mend into one sentence and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (UsageError, SettingsError) as error:
            code, sentence = USAGE, str(error)
        except PipelineError as error:
            code, sentence = FAILED, str(error)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in _EXTRAS:
                raise
            code = FAILED
            sentence = f"This needs {package}: pip install 'slm-edge[{_EXTRAS[package]}]'."
        except KeyboardInterrupt:
            code, sentence = STOPPED, "Stopped."
        typer.echo(f"error: {sentence}", err=True)
        raise typer.Exit(code)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train, gate, compile and package an intent classifier with a SageMaker pipeline "
    "that also runs on this machine.",
)
import_app = typer.Typer(
    no_args_is_help=True, help="Turn a dataset on this machine into a folder for slm run --data."
)
app.add_typer(import_app, name="import")


class Runtime(StrEnum):
    """What runs a job."""

    process = "process"
    podman = "podman"
    docker = "docker"


Home = Annotated[
    Path,
    typer.Option(
        "--home", envvar="SLM_HOME", help="Folder of executions, data and models.", file_okay=False
    ),
]
Environment = Annotated[
    str, typer.Option("--env", help="Settings: pipeline/environments/<env>.toml.")
]
DefinitionFile = Annotated[
    Path | None,
    typer.Option("--definition", help="A pipeline definition (JSON) instead of our own."),
]
DEFAULT_HOME = Path(".slm")


@app.command()
def run(
    execution: Annotated[
        str | None, typer.Argument(help="With --resume: which execution; else the newest.")
    ] = None,
    env: Environment = "local",
    data: Annotated[
        Path | None, typer.Option(help="Folder with raw data; else the bundled sample.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter.")
    ] = None,
    params: Annotated[
        Path | None, typer.Option(help="Parameters as the AWS command line takes them (JSON).")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an execution that did not end.")
    ] = False,
    runtime: Annotated[Runtime, typer.Option(help="What runs the jobs.")] = Runtime.process,
    pipeline: Annotated[
        str | None, typer.Option(metavar="NAME", help="Run a deployed pipeline's definition.")
    ] = None,
    definition: DefinitionFile = None,
    endpoint_url: Annotated[
        str | None, typer.Option(help="Use S3 and SageMaker at this address.")
    ] = None,
    home: Home = DEFAULT_HOME,
) -> None:
    """Run the pipeline on this machine."""
    from pipeline.cli.running import Request, run_pipeline

    request = Request(
        home=home,
        environment=env,
        data=data,
        assignments=tuple(set_ or ()),
        params=params,
        resume=resume,
        execution=execution,
        runtime=runtime.value,
        pipeline=pipeline,
        definition=definition,
        endpoint_url=endpoint_url,
    )
    status = run_pipeline(request)
    raise typer.Exit({"Succeeded": 0, "Stopped": STOPPED}.get(status, FAILED))


@app.command()
def runs(home: Home = DEFAULT_HOME) -> None:
    """List the executions, the newest first."""
    from pipeline.cli.showing import print_executions

    print_executions(home)


@app.command()
def show(
    env: Environment = "local",
    definition: DefinitionFile = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The definition itself, as it is deployed.")
    ] = False,
    diagram: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw it into FILE (.svg or .png).")
    ] = None,
) -> None:
    """Show the pipeline: its steps, gates and parameters."""
    from pipeline.cli.showing import show_definition

    show_definition(env, definition, as_json=as_json, diagram=diagram)


@app.command()
def report(
    execution: Annotated[str | None, typer.Argument(help="Else the newest with a report.")] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """Print where the report of an execution is."""
    from pipeline.results import find_output

    path = find_output(home, "evaluation", execution) / "report.html"
    typer.echo(str(path))
    if open_:
        import webbrowser

        webbrowser.open(path.absolute().as_uri())


@app.command()
def predict(
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT", help="Else one a line from the input.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="A compiled model's folder; else the newest execution's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """Ask the compiled model, through the code that the device runs."""
    from pipeline.cli.predicting import predict_lines

    if not texts and sys.stdin.isatty():
        raise UsageError('Give an utterance, as in slm predict "lights off", or pipe some in.')
    predict_lines(home, model, texts or sys.stdin, as_json=as_json)


@app.command()
def ui(
    port: Annotated[int, typer.Option(min=1, max=65535)] = 5000, home: Home = DEFAULT_HOME
) -> None:
    """Open MLflow on the runs and models of the home folder."""
    from pipeline.cli.showing import open_mlflow

    raise typer.Exit(open_mlflow(home, port))


Out = Annotated[
    Path | None, typer.Option("--out", help="Folder to write; else one below the home folder.")
]


@import_app.command()
def clinc150(
    path: Annotated[Path, typer.Argument(help="data_full.json, or its folder.")],
    out: Out = None,
    home: Home = DEFAULT_HOME,
) -> None:
    """CLINC150: 150 intents and out-of-scope utterances."""
    from pipeline.datasets import import_clinc150

    _imported(import_clinc150(path, out or home / "data" / "clinc150"))


@import_app.command()
def banking77(
    path: Annotated[Path, typer.Argument(help="Folder with train.csv and test.csv.")],
    out: Out = None,
    home: Home = DEFAULT_HOME,
) -> None:
    """BANKING77: 77 intents of a bank's customers."""
    from pipeline.datasets import import_banking77

    _imported(import_banking77(path, out or home / "data" / "banking77"))


@import_app.command("csv")
def any_csv(
    path: Annotated[Path, typer.Argument(help="A CSV file in UTF-8 with a header.")],
    text: Annotated[str, typer.Option(help="Name of the column with utterances.")],
    intent: Annotated[str, typer.Option(help="Name of the column with intents.")],
    out: Out = None,
    home: Home = DEFAULT_HOME,
) -> None:
    """Any CSV file, by the names of its columns."""
    from pipeline.datasets import import_csv

    _imported(import_csv(path, out or home / "data" / path.stem, text=text, intent=intent))


def _imported(done: Any) -> None:
    outside = f" and {done.out_of_scope:,} out of scope" if done.out_of_scope else ""
    inside = done.rows - done.out_of_scope
    typer.echo(f"{inside:,} utterances in {done.intents} intents{outside}: {done.folder}")
    typer.echo(f"next: slm run --data {done.folder}")


drift.add_to(app)
cloud.add_to(app)
fleet.add_to(app)
promoting.add_to(app)
delivery.add_to(app)
