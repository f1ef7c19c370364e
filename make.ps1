# The same targets as the Makefile, for Windows: ./make.ps1 demo
param([Parameter(Position = 0)][string]$Target = "help")
$ErrorActionPreference = "Stop"
Set-Location $PSScriptRoot

$Venv = ".venv"
$Bin = Join-Path $Venv "Scripts"
$Ready = Join-Path $Venv ".ready"
$Cdk = "node_modules/.bin/cdk.cmd"
$Wheels = "build/wheels/.ready"
$Workers = if ($env:WORKERS) { $env:WORKERS } else { "2" }
if (-not $env:HF_HUB_OFFLINE) { $env:HF_HUB_OFFLINE = "1" }
$env:PIP_DISABLE_PIP_VERSION_CHECK = "1"
# the cdk command starts python and node: those of the virtual environment
$env:PATH = (Join-Path $PSScriptRoot $Bin) + [IO.Path]::PathSeparator + $env:PATH

function Invoke-Tool([string]$Tool, [string[]]$Arguments) {
    & (Join-Path $Bin $Tool) @Arguments
    if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }
}

function Invoke-Setup {
    $sources = Get-Item requirements.txt, pyproject.toml
    if ((Test-Path $Ready) -and -not ($sources | Where-Object { $_.LastWriteTime -gt (Get-Item $Ready).LastWriteTime })) { return }
    $python = if ($env:PYTHON) { $env:PYTHON } else { "python" }
    & $python -c "import sys; sys.exit('error: Python 3.11 or newer is needed: set PYTHON') if sys.version_info < (3, 11) else None"
    if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }
    if (-not (Test-Path (Join-Path $Bin "python.exe"))) { & $python -m venv $Venv }
    Write-Host "installing the pinned requirements into $Venv (about three minutes, once)"
    Invoke-Tool python @("-m", "pip", "install", "--quiet", "--requirement", "requirements.txt")
    Invoke-Tool python @("-m", "pip", "install", "--quiet", "--no-deps", "--editable", ".")
    New-Item -ItemType File -Force $Ready | Out-Null
}

function Invoke-CdkSetup {
    Invoke-Setup
    if ((Test-Path $Cdk) -and (Get-Item $Cdk).LastWriteTime -ge (Get-Item package.json).LastWriteTime) { return }
    Write-Host "installing the cdk command into node_modules"
    & npm install --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error
    if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }
    (Get-Item $Cdk).LastWriteTime = Get-Date
}

function Invoke-Wheels {
    Invoke-Setup
    if ((Test-Path $Wheels) -and (Get-Item $Wheels).LastWriteTime -ge (Get-Item edge/requirements.txt).LastWriteTime) { return }
    Invoke-Tool python @("-m", "steps.package.wheels", "build/wheels")
    New-Item -ItemType File -Force $Wheels | Out-Null
}

function Invoke-Target([string]$Name) {
    switch ($Name) {
        "setup" { Invoke-CdkSetup; Invoke-Wheels }
        "setup-delivery" { Invoke-CdkSetup }  # CodeBuild and GitHub run Linux: nothing is spared here
        "wheels" { Invoke-Wheels }
        "demo" { Invoke-Wheels; Invoke-Tool slm @("run") }
        "test" {
            Invoke-CdkSetup
            Invoke-Wheels
            Invoke-Tool python @("-m", "coverage", "erase")
            Invoke-Tool python @("-m", "pytest", "-n", $Workers, "--dist", "loadfile", "--no-loadscope-reorder", "--cov", "--cov-report=")
            Invoke-Tool python @("-m", "coverage", "report", "--fail-under=90")
        }
        "check" { Invoke-Target lint; Invoke-Target typecheck }
        "lint" {
            Invoke-Setup
            Invoke-Tool ruff @("check", ".")
            Invoke-Tool ruff @("format", "--check", ".")
            Invoke-Tool lint-imports @()
        }
        "typecheck" { Invoke-Setup; Invoke-Tool pyright @("--pythonpath", (Join-Path $Bin "python.exe")) }
        "synth" {
            Invoke-CdkSetup
            foreach ($environment in "dev", "staging", "prod") {
                & $Cdk synth --quiet --no-version-reporting --context "env=$environment" --output "build/cdk/$environment"
                if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }
                Write-Host "build/cdk/$environment"
            }
        }
        "diagram" { Invoke-CdkSetup; Invoke-Tool python @("-m", "cdk.drawing") }
        "test-infra" { Invoke-CdkSetup; Invoke-Tool python @("-m", "pytest", "-m", "infra") }
        "bench" { Invoke-Target demo; Invoke-Tool python @("-m", "benchmarks") }
        "build" { Invoke-Setup; Invoke-Tool python @("-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", "dist", ".") }
        "docs" { Invoke-Setup; Invoke-Tool python @("docs/build.py") }
        "images" { & $(if ($env:PYTHON) { $env:PYTHON } else { "python" }) containers/build.py; exit $LASTEXITCODE }
        "all" { foreach ($name in "check", "test", "synth", "build") { Invoke-Target $name } }
        "clean" {
            foreach ($path in "build", "dist", ".pytest_cache", ".ruff_cache", ".import_linter_cache", "htmlcov") {
                if (Test-Path $path) { Remove-Item -Recurse -Force $path }
            }
        }
        "help" { Write-Host "targets: setup setup-delivery wheels demo test check lint typecheck synth diagram test-infra bench build images docs all clean" }
        default { Write-Error "no target '$Name': run ./make.ps1 help" }
    }
}

Invoke-Target $Target
