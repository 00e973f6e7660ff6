"""Certificates of a cluster: an authority of its own, whose key never leaves the client, and what it signs."""

from __future__ import annotations

import datetime as dt
import ipaddress
import secrets
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cloudmesh_cluster.core.files import make_private, write_atomically
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Node

LIFETIME = dt.timedelta(days=3650)
BACKDATED = dt.timedelta(days=1)  # clocks of nodes may be behind


def node_certificate(home: Home, node: Node) -> dict[str, bytes]:
    """Return `ca.pem`, `cert.pem` and `key.pem` for a node, as PEM; the key is made anew each time."""
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in (node.name, node.short_name, "localhost")]
    addresses = [ipaddress.ip_address(address) for address in (node.private_ip, "127.0.0.1")]
    return _signed(home, node.cluster, node.name, [*names, *(x509.IPAddress(each) for each in addresses)])


def client_certificate(home: Home, cluster: str) -> dict[str, Path]:
    """Return the files `ca.pem`, `cert.pem` and `key.pem` for programs on this machine; they are made when missing."""
    folder = home.cluster(cluster) / "certificates" / "client"
    if not (folder / "key.pem").exists():
        for name, content in _signed(home, cluster, "client", [x509.DNSName("localhost")]).items():
            _write(folder / name, content)
    return {name: folder / name for name in ("ca.pem", "cert.pem", "key.pem")}


def _signed(home: Home, cluster: str, name: str, alternatives: list[x509.GeneralName]) -> dict[str, bytes]:
    authority, authority_key = _authority(home, cluster)
    key = ec.generate_private_key(ec.SECP256R1())
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        _builder(name, authority.subject, key.public_key(), authority_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return {"ca.pem": authority.public_bytes(pem), "cert.pem": certificate.public_bytes(pem), "key.pem": _pem(key)}


def _authority(home: Home, cluster: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Return the cluster's authority, made when it is missing: one file, so that it is there whole or not at all."""
    path = home.cluster(cluster) / "certificates" / "authority.pem"
    if not path.exists():
        _write(path, _new_authority(cluster))
    text = path.read_bytes()
    key = serialization.load_pem_private_key(text, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path} holds another kind of key than was written")
    return x509.load_pem_x509_certificate(text), key


def _new_authority(cluster: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = f"cluster {cluster} {secrets.token_hex(4)}"
    certificate = (
        _builder(name, _name(name), key.public_key(), key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**_SIGNS_ONLY), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _pem(key) + certificate.public_bytes(serialization.Encoding.PEM)


_SIGNS_ONLY = dict.fromkeys(
    ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
     "encipher_only", "decipher_only"), False,
) | {"key_cert_sign": True, "crl_sign": True}  # fmt: skip


def _builder(
    name: str, issuer: x509.Name, public: ec.EllipticCurvePublicKey, issuer_key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(identifier, critical=False)
    )


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    pem, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(pem, kind, serialization.NoEncryption())


def _write(path: Path, content: bytes) -> None:
    make_private(path.parent)
    write_atomically(path, content)
