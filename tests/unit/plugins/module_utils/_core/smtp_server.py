# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real SMTP server on loopback, for tests of what is sent by mail."""

from __future__ import annotations

import contextlib
import datetime
import email
import email.message
import email.policy
import ipaddress
import pathlib
import socket
import ssl
import typing as t

import pytest

controller = pytest.importorskip("aiosmtpd.controller")
smtp = pytest.importorskip("aiosmtpd.smtp")

PASSWORD = "s3cret"


class Server:
    """:ivar got: (recipients, message, whether it came over TLS, user), in order.
    :ivar strangers: addresses that it takes nothing for.
    """

    def __init__(self, port: int, ca: pathlib.Path, tls_only: bool) -> None:
        self.port, self.ca, self.tls_only = port, str(ca), tls_only
        self.got: list[tuple[list[str], email.message.EmailMessage, bool, str]] = []
        self.strangers: set[str] = set()
        self.answer = "250 taken"

    async def handle_RCPT(self, dummy: t.Any, dummy_session: t.Any, envelope: t.Any, address: str, *dummy_more: t.Any) -> str:
        if address in self.strangers:
            return "550 no such user here"
        envelope.rcpt_tos.append(address)
        return "250 taken"

    async def handle_DATA(self, dummy: t.Any, session: t.Any, envelope: t.Any) -> str:
        if not self.answer.startswith("250"):
            return self.answer
        message = t.cast("email.message.EmailMessage", email.message_from_bytes(envelope.content, policy=email.policy.default))
        user = session.auth_data.login.decode() if session.auth_data else ""
        self.got.append((envelope.rcpt_tos, message, self.tls_only or session.ssl is not None, user))
        return self.answer


def certificate(directory: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """A certificate of localhost, and its key; nobody else has signed it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = directory / "cert.pem", directory / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    nobody = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, nobody))
    return paths


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def serving(directory: pathlib.Path, tls: str = "none", login: bool = False) -> t.Iterator[Server]:
    """:param tls: none, starttls (and nothing without it), tls.
    :param login: whoever does not say "hvm" and PASSWORD is sent away.
    """
    cert, key = certificate(directory)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    server = Server(free_port(), cert, tls == "tls")  # there: nobody else comes through to it

    def known(dummy: t.Any, dummy_session: t.Any, dummy_envelope: t.Any, dummy_mechanism: str, data: t.Any) -> t.Any:
        return smtp.AuthResult(handled=False, success=data == smtp.LoginPassword(b"hvm", PASSWORD.encode()), auth_data=data)

    words: dict[str, t.Any] = {"hostname": "127.0.0.1", "port": server.port, "ready_timeout": 30}
    if login:
        words.update(authenticator=known, auth_required=True, auth_require_tls=tls == "starttls")
    if tls == "starttls":
        words.update(tls_context=context, require_starttls=True)
    elif tls == "tls":
        words.update(ssl_context=context)
    running = controller.Controller(server, **words)
    running.start()
    try:
        yield server
    finally:
        running.stop()
