"""The certificates and keys of one cluster: an authority of its own that nobody else trusts."""

import datetime
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_SERVICE_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
_VALID = datetime.timedelta(days=365)


@dataclass(frozen=True)
class Pki:
    """Where the files of one cluster are."""

    folder: Path

    @property
    def authority(self) -> Path:
        """The certificate that everyone in the cluster trusts."""
        return self.folder / "ca.crt"

    def certificate(self, name: str) -> Path:
        """The certificate called `name`."""
        return self.folder / f"{name}.crt"

    def key(self, name: str) -> Path:
        """The private key called `name`."""
        return self.folder / f"{name}.key"


def create(folder: Path, addresses: Iterable[str]) -> Pki:
    """Make an authority, what the API server shows at `addresses` and to the kubelet, and the token signing keys."""
    folder.mkdir(parents=True, mode=0o700)
    pki = Pki(folder)
    authority_key = _private_key(pki.key("ca"))
    authority = _sign(pki.authority, "testbed-authority", authority_key, None, authority_key, [_constraints(ca=True)])
    for name, organization, usage, names in (
        ("apiserver", "testbed", ExtendedKeyUsageOID.SERVER_AUTH, _names(addresses)),
        ("kubelet", "testbed", ExtendedKeyUsageOID.SERVER_AUTH, _names(addresses)),
        ("kubelet-client", "system:masters", ExtendedKeyUsageOID.CLIENT_AUTH, None),
    ):
        extensions = [_constraints(ca=False), (x509.ExtendedKeyUsage([usage]), False), *([(names, False)] if names else [])]
        key = _private_key(pki.key(name))
        _sign(pki.certificate(name), name, key, authority, authority_key, extensions, organization)
    public = _private_key(pki.key("service-accounts")).public_key()
    (folder / "service-accounts.pub").write_bytes(
        public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return pki


_Extension = tuple[x509.ExtensionType, bool]


def _constraints(*, ca: bool) -> _Extension:
    return x509.BasicConstraints(ca=ca, path_length=None), True


def _names(addresses: Iterable[str]) -> x509.SubjectAlternativeName:
    hosts = [x509.DNSName(name) for name in ("localhost", *_SERVICE_NAMES)]
    return x509.SubjectAlternativeName(
        [*hosts, *(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses)]
    )


def _private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP256R1())
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    return key


def _sign(
    path: Path,
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    extensions: Iterable[_Extension],
    organization: str = "testbed",
) -> x509.Certificate:
    """Strict verifiers (Python 3.13's default) want both key identifiers and the usages to be there."""
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
        .add_extension(_usage(ca=issuer is None), critical=True)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    certificate = builder.sign(issuer_key, hashes.SHA256())
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return certificate


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
