"""The certificates and keys of one cluster: an authority of its own that nobody else trusts."""

import datetime as dt
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_SERVICE_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
_VALID = dt.timedelta(days=365)


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
    """Make an authority, what servers show at `addresses`, the API server's name to kubelets, token keys."""
    folder.mkdir(parents=True, mode=0o700)
    pki = Pki(folder)
    authority = _Authority.create(pki)
    names = _names(addresses)
    for server in ("apiserver", "kubelet"):
        authority.issue(pki, server, "testbed", ExtendedKeyUsageOID.SERVER_AUTH, names)
    authority.issue(pki, "kubelet-client", "system:masters", ExtendedKeyUsageOID.CLIENT_AUTH)
    public = _private_key(pki.key("service-accounts")).public_key()
    (folder / "service-accounts.pub").write_bytes(
        public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return pki


@dataclass(frozen=True)
class _Authority:
    subject: x509.Name
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, pki: Pki) -> Self:
        authority = cls(_subject("testbed-authority", "testbed"), _private_key(pki.key("ca")))
        pki.authority.write_bytes(authority._sign(authority.subject, authority.key, _usage(ca=True)))
        return authority

    def issue(
        self, pki: Pki, name: str, organization: str, purpose: x509.ObjectIdentifier, *more: x509.ExtensionType
    ) -> None:
        key = _private_key(pki.key(name))
        extensions = (*_usage(ca=False), x509.ExtendedKeyUsage([purpose]), *more)
        pki.certificate(name).write_bytes(self._sign(_subject(name, organization), key, extensions))

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extensions: Iterable[x509.ExtensionType]
    ) -> bytes:
        """Strict verifiers (Python 3.13's default) want both key identifiers and the usages to be there."""
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + _VALID)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        for extension in extensions:
            critical = isinstance(extension, x509.BasicConstraints | x509.KeyUsage)
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _subject(name: str, organization: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )


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


def _usage(*, ca: bool) -> tuple[x509.ExtensionType, ...]:
    usage = x509.KeyUsage(
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
    return x509.BasicConstraints(ca=ca, path_length=None), usage
