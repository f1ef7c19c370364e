"""The folder of one device's configuration: what is in it, and how it gets there.

    NAME/device.pem.crt private.pem.key   its identity; the key is read by its owner alone
    NAME/trusted/<environment>.pem        the public key that packages are signed with
    NAME/config.toml                      of the component, for /etc/slm-edge
    NAME/greengrass-lite.yaml             of either nucleus, the one that is installed
    NAME/greengrass-classic.yaml
    NAME/README.txt                       where each goes

The key is made on this machine and never sent; AWS gets a request that is signed with it. Leaves
out: AWS's root certificate, which is fetched from where README.txt says.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.settings import Settings

CERTIFICATE, KEY = "device.pem.crt", "private.pem.key"
CERTIFICATE_ARN = "certificate.arn"
CONFIG = "config.toml"
TRUSTED = "trusted"
ROOT_CA = "https://www.amazontrust.com/repository/AmazonRootCA1.pem"

_COMPONENT = """\
# The component's configuration: /etc/slm-edge/config.toml
thing = "{thing}"

[updates]
trusted_keys = "/etc/slm-edge/trusted"

[telemetry]
destination = "greengrass"
"""
_SYSTEM = """\
system:
  certificateFilePath: "/etc/greengrass/{certificate}"
  privateKeyPath: "/etc/greengrass/{key}"
  rootCaPath: "/etc/greengrass/AmazonRootCA1.pem"
  {root}
  thingName: "{thing}"
services:
  {nucleus}:
"""
_CLASSIC = """\
    componentType: "NUCLEUS"
    configuration:
      awsRegion: "{region}"
      iotRoleAlias: "{role_alias}"
      iotDataEndpoint: "{data}"
      iotCredEndpoint: "{credentials}"
"""
_LITE = """\
    configuration:
      awsRegion: "{region}"
      iotRoleAlias: "{role_alias}"
      iotDataEndpoint: "{data}"
      iotCredEndpoint: "{credentials}"
      runWithDefault:
        posixUser: "gguser:ggcore"
      greengrassDataPlanePort: "8443"
"""
_README = """\
{thing}, a device of {name}. On it:

1. {certificate} and {key} go to /etc/greengrass, and so does Amazon's root certificate:
   curl -o /etc/greengrass/AmazonRootCA1.pem {root_ca}
   {key} is this device's identity: copy it nowhere else.
2. greengrass-lite.yaml (nucleus lite) goes to /etc/greengrass/config.yaml;
   greengrass-classic.yaml is for the classic nucleus, with --init-config.
3. config.toml and the folder trusted go to /etc/slm-edge.
"""


@dataclass(frozen=True)
class Endpoints:
    """Where a device of this account and region connects to."""

    data: str
    credentials: str


def new_key() -> bytes:
    """A private key on P-256, as PEM."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def signing_request(key: bytes, thing: str) -> str:
    """A request for a certificate whose common name is the thing's: the policy goes by it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    private = serialization.load_pem_private_key(key, password=None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise TypeError("the key is not one of new_key")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, thing)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name)
    signed = request.sign(private, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def public_pem(der: bytes) -> bytes:
    """A public key as devices read it, from what KMS answers."""
    from cryptography.hazmat.primitives import serialization

    return serialization.load_der_public_key(der).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def write_configuration(
    folder: Path, settings: Settings, thing: str, endpoints: Endpoints, trusted: bytes
) -> None:
    """Everything of the folder but the identity."""
    values = {
        "thing": thing,
        "name": settings.name,
        "certificate": CERTIFICATE,
        "key": KEY,
        "region": settings.region,
        "role_alias": settings.role_alias,
        "data": endpoints.data,
        "credentials": endpoints.credentials,
        "root_ca": ROOT_CA,
    }
    classic = {"root": 'rootpath: "/greengrass/v2"', "nucleus": "aws.greengrass.Nucleus"}
    lite = {"root": 'rootPath: "/var/lib/greengrass"', "nucleus": "aws.greengrass.NucleusLite"}
    (folder / TRUSTED).mkdir(exist_ok=True)
    write(folder / TRUSTED / f"{settings.name}.pem", trusted)
    for name, text in (
        (CONFIG, _COMPONENT.format(**values)),
        ("greengrass-classic.yaml", (_SYSTEM + _CLASSIC).format(**values, **classic)),
        ("greengrass-lite.yaml", (_SYSTEM + _LITE).format(**values, **lite)),
        ("README.txt", _README.format(**values)),
    ):
        write(folder / name, text.encode())


def write(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write ``content`` beside ``path`` and put it in place: whole, or not at all.

    The mode is set before the first byte, so that a key is never open to others.
    """
    beside = path.with_name(f".{path.name}.partial")
    beside.unlink(missing_ok=True)
    number = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(number, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
