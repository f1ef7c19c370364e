"""Why each statement of a role or permission set is there, in a line, for docs/roles.md.

By the statement's id, or by its first action where it has none. A test compares the list with the
synthesized templates in both directions. Statements on every resource have their reason in
cdk/roles/wildcards.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from cdk.drawing.access import Statement
from cdk.roles.wildcards import WILDCARDS

REASONS: Mapping[str, str] = {
    # service roles
    "RunJobs": "Starts, follows and stops the jobs of its steps; their names begin alike.",
    "TagJobs": "Tags a job while it makes it, never one that is there.",
    "PassRolesToJobs": "Hands each job its own role, and to SageMaker only.",
    "ReadFigures": "The gates compare figures of these files.",
    "ListFigures": "As above; a listing shows nothing else of the bucket.",
    "UseKey": "Decrypts and encrypts; where a service is named, through it only, never by itself.",
    "PullImages": "The job's image.",
    "Log": "Of a job, as SageMaker writes it in its name; of a build, its own log.",
    "DescribeKey": "The key's own ARN, which an upload has to name.",
    "EncryptVolumes": "The job's disk is encrypted with the key by EC2, which takes a grant.",
    "ReadDatasets": "prepare reads the dataset.",
    "ListDatasets": "prepare finds its files.",
    "ReadSteps": "What the steps before it left.",
    "ListSteps": "Finds those files, and no others.",
    "WriteSteps": "Its own outputs.",
    "ReadPushedModels": "evaluate compares with the newest approved model, which may be pushed.",
    "ListPushedModels": "Finds that model's files.",
    "ReadRegistry": "Finds and describes registered versions.",
    "UseRegistry": "register adds a version; the parity gate may reject it.",
    "FindImages": "Looks an image's digest up, which a version records.",
    "ReadNeo": "What Neo compiled.",
    "ListNeo": "Finds what Neo compiled.",
    "WriteNeo": "The traced model that Neo is given, and Neo's result.",
    "AskNeo": "Optional second target of compile; job names begin with the group's.",
    "PassRoleToNeo": "Neo reads and writes with the same role, handed to SageMaker only.",
    "Start": "Starts the two pipelines, these.",
    "KeepWhatFailed": "What could not be started or stored goes into a dead-letter queue.",
    "AttachTheDenial": "The brake: this one policy, at these roles, and its way back.",
    "SignPackages": "package has KMS sign the manifest, which no device installs without.",
    "ReadWindows": "What the devices have counted.",
    "ListWindows": "Finds those files, and no others.",
    "ReadReferences": "What each version on the devices is compared with.",
    "ListReferences": "Finds those files, and no others.",
    "TellOfDrift": "The one event that starts retraining, under the project's own source.",
    "KeepLogsForDays": "Sets how long SageMaker's two log groups keep what is in them.",
    # the function that looks for stuck executions
    "ListExecutions": "Sees which executions run, and since when.",
    "UseOwnKey": "Its environment is encrypted with this key.",
    "WriteLog": "Its own log group.",
    "NotePackage": "package notes where the package lies; naming a status is not allowed with it.",
    # promotion
    "ReadVersion": "Whether it is approved, and where its package and model are.",
    "WriteHistory": "The story of a promotion with its version, and never its status.",
    "ReadPackagesAndModels": "What is promoted, as the pipeline or slm push left it; read only.",
    "SeeWhatIsGone": "Else S3 says of an object that is gone that it may not be read.",
    "VerifySignature": "Asks the key whether it signed the manifest; nothing can be signed.",
    "PublishAndRecord": "The component's files, its reference, and where the promotion stands.",
    "PublishComponent": "A version of this component; no deletion.",
    "TagWhatItMakes": "Component versions and deployments carry the project's tags.",
    "FollowDeployments": "How each device stands; a deployment that is bad is stopped.",
    "FindDevices": "Which devices are in the two groups.",
    "CallFunction": "The machine calls the function that promotes, and no other.",
    "StartPromotion": "Approved, or slm promote --by-machine, starts the machine, this one.",
    "ReadPromotions": "How far each promotion is, and why.",
    # delivery: the pipeline, its builds and GitHub's workflows
    "UseConnection": "Fetches the source through the connection that a person confirmed.",
    "KeepArtifacts": "Hands the source on to the builds, below a prefix of its own.",
    "FindArtifacts": "Finds what it keeps there.",
    "StartBuilds": "Starts, follows and stops these builds.",
    "AskForApproval": "Tells people that a release waits for them.",
    "ReadSource": "The source, as the pipeline keeps it; nothing else of the bucket.",
    "PushImages": "The two images, which are built once for all environments.",
    "TakeDeployingRoles": "Deploys this one environment through roles that cdk bootstrap made.",
    "MarkImages": "A tag on what an environment runs, so that the lifecycle keeps it.",
    "ActIn": "Works there as the role delivery of that environment, and as nothing else.",
    # delivery: what it does in an environment
    "RunPipeline": "Starts an execution and follows it to its end.",
    "ReadLogsOfJobs": "Why a step failed.",
    "ReadResults": "What is shown before an approval, and what a device installs.",
    "ListResults": "Finds those files, and no others.",
    "UploadSmokeData": "The bundled sample, below a prefix of its own.",
    "FindRawBucket": "Whether the sample is there, or a dataset.",
    "DecideOnVersions": "Approves the version that a person approved with the release.",
    "FollowPromotions": "How far the promotion is that the approval started.",
    "FindPromotions": "Finds its record.",
    "CheckSignatures": "Whether the package is signed with the environment's key.",
    # devices
    "ReadComponents": "The components that a deployment names.",
    "FindBucket": "The nucleus asks for the bucket's region before it downloads.",
    "StoreWindows": "One file for each window of a device; it reads none.",
    # the function behind new data and drift
    "sagemaker:ListPipelineExecutions": "Whether drift has started an execution not long ago.",
    "scheduler:CreateSchedule": "The schedules that wait: one for new data, one after drift.",
    "iam:PassRole": "The schedule starts the pipeline with the role retraining.",
    "s3:GetObject": "Reads what it is for: manifests, or a notebook's datasets and reports.",
    "s3:ListBucket": "Finds those files, and no others.",
    "sqs:SendMessage": "An event that failed goes into the dead-letter queue.",
    "kms:Decrypt": "What it reads and keeps is encrypted with this key.",
    "logs:CreateLogStream": "Its own log group.",
    # Studio
    "sagemaker:DescribePipeline": "A notebook looks at the pipeline and starts it.",
    "sagemaker:DescribePipelineDefinitionForExecution": "Follows and stops its executions.",
    # people
    "FollowExecutions": "Sees what runs and what ran.",
    "FollowJobs": "Sees a step's job and why it failed.",
    "ReadLogs": "Logs of jobs and of the functions, and queries over them.",
    "ReadDashboard": "The dashboard, which belongs to no region, and its alarms.",
    "FollowReleases": "How far each release is, and why it stopped.",
    "ApproveReleases": "Says yes or no to a release; starts none.",
    "StartAndStopReleases": "Starts and stops releases; says yes to none.",
    "RepeatAndHoldStages": "Tries a stage again that failed, or lets no release into one.",
    "ReadBudget": "What the month has cost.",
    "OpenProfile": "Opens Studio with a profile that is tagged as this project's.",
    "StartExecutions": "Starts the pipeline or the drift check.",
    "StopAndRetryExecutions": "Stops an execution, or goes on with a failed one.",
    "ReadData": "Data, models and reports.",
    "ListData": "Finds them.",
    "ImportDatasets": "slm upload.",
    "PublishModelsAndPackages": "slm push.",
    "RegisterAndApprove": "slm push, approve and reject.",
    "FindKey": "An upload names the key's own ARN; the alias picks this project's key.",
    "Deploy": "cdk deploy works through the roles that cdk bootstrap made.",
    "ReadStacks": "How the stacks stand.",
    "LiftTheBrake": "Reverses the budget's action; see docs/deployment.md.",
    "LookAtWhatFailed": "Reads and removes messages of the dead-letter queues.",
    "ProvisionDevices": "slm fleet provision: a thing and its certificate, and their removal.",
    "GiveRightsToDevices": "The devices' policy to a certificate, and its removal.",
    "GroupDevices": "A device is in the fleet's group or in the canary's.",
    "PublishComponents": "slm fleet deploy: a version of this component; no deletion.",
    "FollowDevices": "How each device and deployment stands; a canary that failed is stopped.",
    "DeployToGroups": "A deployment is a job for one of the two groups.",
    "PublishPackages": "The component's archives, below one prefix.",
    "ReadPackages": "What the step package wrote; nothing else of an execution.",
    "FindPackages": "Finds those files.",
    "FindComponents": "Finds the archives that were published.",
    "EncryptPackages": "The archives are encrypted with the key, through S3 only.",
    "ReadPublicKey": "What devices trust; the alias picks the signing key.",
    "EmptyBuckets": "Before cdk destroy; only where data is not retained. It reads nothing.",
    "ReadRolesAndPolicies": "Checks who may what.",
    "ReadBucketSettings": "Checks how buckets are set up, without their content.",
    "ReadAccessLogs": "Who read and wrote data.",
    "ReadKeySettings": "Checks the key's policy, rotation and grants.",
    "ReadTopic": "Checks who is told.",
    "ReadImages": "Reads the findings of image scans.",
    # the boundary
    "Data": "Objects of the data buckets; no deletion.",
    "Key": "This key.",
    "Signing": "The signing key.",
    "SageMaker": "Jobs of pipelines, and what bears the project's name.",
    "Images": "The project's images and the bootstrap's.",
    "Logs": "Log groups of jobs, and of the project's functions and builds.",
    "Messages": "The project's topics and queues.",
    "Events": "The account's own event bus.",
    "Schedules": "The project's group of schedules.",
    "PassRoles": "The project's roles, to two services.",
    "Brake": "The budget's denial, and no other policy.",
    "Versions": "The project's versions; no deletion.",
    "Components": "The project's component and deployments of it; no deletion.",
    "Devices": "Deployments to the two groups of devices.",
    "Machine": "The machine and the function that promote.",
    "TakeRoles": "The roles that deploy, and the role delivery of each environment; no other.",
    "Artifacts": "What the pipeline hands on.",
    "Bucket": "The bucket of those.",
    "Builds": "The builds of this delivery.",
    "Alerts": "The alert topic.",
    "Connection": "The one connection.",
}


def key_of(statement: Statement) -> str:
    """What the statement is listed under."""
    return statement.sid or statement.actions[0]


def reason_of(statement: Statement) -> str:
    """Why the statement is there.

    Raises:
        KeyError: Nobody has said so yet.
    """
    key = key_of(statement)
    return WILDCARDS[key].reason if key in WILDCARDS else REASONS[key]
