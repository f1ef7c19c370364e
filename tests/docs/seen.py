"""Where each command of a page is run, and why those of the system are not.

A value with ``::`` names a test, which has to exist.
"""

from __future__ import annotations

CLI = "tests/pipeline/cli"
ACCOUNT = "tests/e2e/test_account.py"
DEMO = "tests/e2e/test_demo.py"
HERE = "tests/docs/test_account_commands.py"
PROMOTION = "tests/pipeline/cloud/promotion/test_promoting.py"
DELIVERY = "tests/pipeline/cloud/delivery"
FLEET = "tests/e2e/test_fleet.py::test_fifty_devices_take_the_good_versions_and_only_those"

LOOKS = f"{DEMO}::test_every_command_of_a_page_that_looks_at_a_run_works_on_the_demo"

SLM = {
    "run": f"{DEMO}::test_every_step_succeeds_and_leaves_its_folder",
    "runs": LOOKS,
    "show": LOOKS,
    "report": LOOKS,
    "predict": LOOKS,
    "ui": f"{CLI}/test_commands.py::test_ui_opens_mlflow_on_the_homes_database",
    "import csv": f"{ACCOUNT}::test_a_dataset_is_imported_and_uploaded_with_its_manifest_last",
    "import clinc150": f"{CLI}/test_commands.py::test_import_prints_what_to_type_next",
    "import banking77": f"{CLI}/test_commands.py::test_import_prints_what_to_type_next",
    "costs": f"{CLI}/test_cloud_costs.py::test_the_parts_the_sum_and_the_budget_are_shown",
    "drift": f"{CLI}/test_drift.py::test_in_the_account_the_deployed_pipeline_is_started_and_read",
    "check": f"{CLI}/test_cloud_check.py::test_an_account_that_is_ready_says_what_to_do_next",
    "upload": f"{ACCOUNT}::test_a_dataset_is_imported_and_uploaded_with_its_manifest_last",
    "start": f"{CLI}/test_cloud_start.py::test_an_execution_is_started_with_the_parameters_given",
    "watch": f"{CLI}/test_cloud_watch.py::test_the_newest_execution_is_watched_to_its_end",
    "approve": f"{ACCOUNT}::test_the_model_waits_for_approval_and_is_approved",
    "reject": f"{CLI}/test_cloud_approve.py::"
    "test_a_version_is_rejected_with_a_reason_and_may_be_approved_later",
    "push": f"{ACCOUNT}::test_a_run_of_a_laptop_is_pushed_and_joins_the_registry",
    "promote": f"{PROMOTION}::"
    "test_an_approved_version_reaches_every_device_and_the_registry_tells_how",
    "promotions": f"{HERE}::test_every_command_about_an_account_works_in_an_emulated_one",
    "fleet provision": FLEET,
    "deliver images": f"{DELIVERY}/test_commands.py::"
    "test_images_are_handed_on_and_deployed_and_marked_as_what_runs",
    "deliver deploy": f"{DELIVERY}/test_commands.py::"
    "test_images_are_handed_on_and_deployed_and_marked_as_what_runs",
    "deliver run": f"{DELIVERY}/test_running.py::"
    "test_the_command_starts_waits_and_hands_on_what_was_made",
    "deliver device": f"{DELIVERY}/test_commands.py::"
    "test_a_device_gets_the_package_that_was_handed_on_and_no_other",
    "deliver promote": f"{DELIVERY}/test_promoting.py::"
    "test_the_command_checks_approves_and_follows_in_the_roles_of_both_environments",
    "fleet deploy": FLEET,
    "fleet status": FLEET,
    "fleet rollback": FLEET,
}

COMPONENT = (
    "tests/e2e/test_component.py::test_a_component_is_installed_updated_and_a_tampered_one_refused"
)
SLM_EDGE = {
    "predict": "tests/edge/test_cli.py::test_predict_asks_the_model_that_serves_in_a_state_root",
    "serve": COMPONENT,
    "install": COMPONENT,
    "verify": COMPONENT,
    "status": "tests/edge/updates/test_supervisor.py::test_rollback_is_obeyed_while_it_runs",
    "rollback": "tests/edge/updates/test_supervisor.py::test_rollback_is_obeyed_while_it_runs",
}

CDK = {
    "bootstrap": f"{ACCOUNT}::test_bootstrap_and_deploy_stand_up_every_stack",
    "synth": f"{ACCOUNT}::test_bootstrap_and_deploy_stand_up_every_stack",
    "deploy": f"{ACCOUNT}::test_bootstrap_and_deploy_stand_up_every_stack",
    "diff": f"{ACCOUNT}::test_deploying_again_without_a_change_changes_nothing",
    "destroy": f"{ACCOUNT}::test_destroying_dev_leaves_nothing_but_the_bootstrap",
    "import": "by hand: takes a bucket over that an earlier deployment left in a real account",
}

BENCHMARK = "measures for minutes: run by hand, with the figures that it gave on its page"
MODULES = {
    "benchmarks": BENCHMARK,
    "benchmarks.device": BENCHMARK,
    "benchmarks.outcomes": BENCHMARK,
    "benchmarks.scale": "tests/benchmarks/test_scale.py::"
    "test_the_page_shows_what_the_program_prints",
    "benchmarks.drift": BENCHMARK,
    "benchmarks.fuzz": BENCHMARK,
    "benchmarks.mutations": "tests/benchmarks/test_mutations.py::"
    "test_no_mutated_package_is_accepted_and_none_ends_in_anything_but_a_sentence",
    "benchmarks.prediction": BENCHMARK,
    "benchmarks.prepare": BENCHMARK,
    "benchmarks.runner": BENCHMARK,
    "benchmarks.service": BENCHMARK,
    "benchmarks.sizing": BENCHMARK,
    "benchmarks.training": BENCHMARK,
    "benchmarks.updates": "tests/benchmarks/test_updates.py::"
    "test_after_a_kill_one_good_version_serves",
    "cdk.foundation.emptying": f"{ACCOUNT}::test_destroying_dev_leaves_nothing_but_the_bootstrap",
    "steps.NAME": "tests/containers/test_dockerfiles.py::"
    "test_the_steps_of_an_image_start_with_its_packages_alone",
    "steps.prepare": f"{DEMO}::test_every_step_succeeds_and_leaves_its_folder",
}

SETUP = "set-up of a machine: .ci/run does it from an empty clone"
DEVICE = "changes a device's system; its own lines of our runtime are run by test_component.py"
FILES = "names files of the reader's machine"
NUCLEUS = "AWS's own nucleus, which tests/e2e/nucleus.py stands in for"
CONTAINERS = "needs podman and root; the same build is checked by tests/containers"
SYSTEM = {
    "apt-get": DEVICE,
    "cd": SETUP,
    "cat": FILES,
    "cp": FILES,
    "curl": "the local service's answers are held to openapi.yaml by tests/edge/service",
    "debootstrap": CONTAINERS,
    "echo": DEVICE,
    "export": "a variable of the reader's shell",
    "git": SETUP,
    "groupadd": NUCLEUS,
    "head": FILES,
    "install": DEVICE,
    "java": NUCLEUS,
    "ln": DEVICE,
    "ls": FILES,
    "mkdir": FILES,
    "openssl": "tests/steps/package/test_signing.py checks a signature with it",
    "pip": DEVICE,
    "podman": CONTAINERS,
    "pre-commit": SETUP,
    "rm": DEVICE,
    "scp": "needs a device",
    "systemctl": DEVICE,
    "tar": CONTAINERS,
    "tee": DEVICE,
    "unzip": DEVICE,
    "useradd": DEVICE,
}
"""Programs that are not ours: why their commands are checked as shell and not run."""
