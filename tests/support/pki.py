"""Certificates for the TLS tests, made anew where and when they are needed; PyPI's `cryptography`.

    files = pki.make(directory)          # once a session; files.ca, files["server"].pem ...

Every name has NAME.pem, NAME.der (certificate), NAME.key (PEM), NAME.key.der (DER: PyPI's MicroPython reads only DER).
"""

import datetime
import ipaddress
from pathlib import Path

# name: common name, issuer (None: itself), days from now that it is valid, names it is good for
LEAVES = {
    "server": ("localhost", "ca", (-1, 3650), ("localhost", "127.0.0.1")),
    "client": ("node-1", "ca", (-1, 3650), ()),
    "expired": ("localhost", "ca", (-30, -1), ("localhost", "127.0.0.1")),
    "future": ("localhost", "ca", (3000, 3650), ("localhost", "127.0.0.1")),
    "elsewhere": ("broker.example", "ca", (-1, 3650), ("broker.example",)),
    "untrusted": ("localhost", "other", (-1, 3650), ("localhost", "127.0.0.1")),
    "selfsigned": ("localhost", None, (-1, 3650), ("localhost", "127.0.0.1")),
    "stranger": ("node-2", "other", (-1, 3650), ()),  # a client certificate of a CA that the server does not know
}
CAS = {"ca": "umqtt5 test CA", "other": "another CA"}


class Files:
    """Paths of one certificate: pem, der, key, key_der."""

    def __init__(self, directory, name):
        self.pem = directory / (name + ".pem")
        self.der = directory / (name + ".der")
        self.key = directory / (name + ".key")
        self.key_der = directory / (name + ".key.der")


def make(directory, kind="ec"):
    """Write all certificates into directory -> {name: Files}. kind: "ec" (P-256) or "rsa" (2048 bits, takes a few seconds)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.timezone.utc)
    made = {}

    def new_key():
        return ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, 2048)

    def name_of(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def write(name, key, certificate):
        f = Files(directory, name)
        pem, der = serialization.Encoding.PEM, serialization.Encoding.DER
        private = (serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
        f.pem.write_bytes(certificate.public_bytes(pem))
        f.der.write_bytes(certificate.public_bytes(der))
        f.key.write_bytes(key.private_bytes(pem, *private))
        f.key_der.write_bytes(key.private_bytes(der, *private))
        f.key.chmod(0o600)
        f.key_der.chmod(0o600)
        made[name] = f

    def certificate(subject, key, issuer, issuer_key, days, extensions):
        b = x509.CertificateBuilder(name_of(issuer), name_of(subject), key.public_key(), x509.random_serial_number())
        b = b.not_valid_before(now + datetime.timedelta(days[0])).not_valid_after(now + datetime.timedelta(days[1]))
        extensions.append((x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False))
        extensions.append((x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False))
        for extension, critical in extensions:
            b = b.add_extension(extension, critical)
        return b.sign(issuer_key, hashes.SHA256())

    authorities = {}
    for name, subject in CAS.items():
        key = new_key()
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        extensions = [(x509.BasicConstraints(True, None), True), (usage, True)]
        authorities[name] = (subject, key)
        write(name, key, certificate(subject, key, subject, key, (-31, 3650), extensions))
    for name, (subject, issuer, days, names) in LEAVES.items():
        key = new_key()
        by, by_key = authorities[issuer] if issuer else (subject, key)
        use = ExtendedKeyUsageOID.SERVER_AUTH if names else ExtendedKeyUsageOID.CLIENT_AUTH
        extensions = [(x509.BasicConstraints(False, None), True), (x509.ExtendedKeyUsage([use]), False)]
        if names:
            general = [x509.IPAddress(ipaddress.ip_address(n)) if n[0].isdigit() else x509.DNSName(n) for n in names]
            extensions.append((x509.SubjectAlternativeName(general), False))
        write(name, key, certificate(subject, key, by, by_key, days, extensions))
    return made
