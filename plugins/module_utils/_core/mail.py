# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""A report by mail: `/etc/hvm/mail.json`, written by the role `hvm.pair.host`, says where to.

The password is in a file of its own.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.files import read_text

if t.TYPE_CHECKING:
    import email.message
    import smtplib

PATH = "/etc/hvm/mail.json"
REMEDY = "Correct the variables hvm_mail_* and run the playbook hvm.pair.install."
NONE, STARTTLS, TLS = "none", "starttls", "tls"
#: RFC 8314 and RFC 6409.
PORTS = {NONE: 25, STARTTLS: 587, TLS: 465}
#: Seconds for each answer of the server.
TIMEOUT = 30.0
#: Characters of a subject: most mail programs show no more, and a sentence of ours may be long.
SUBJECT = 200

# One address and nothing else: it goes into a header, and to the server as a word of its own.
_ADDRESS = re.compile(r"[!-;=?A-~]+@[A-Za-z0-9._:\[\]-]+\Z", re.ASCII)


class Settings(t.NamedTuple):
    """:ivar to: recipients; there is at least one.
    :ivar tls: STARTTLS, TLS (from the first byte) or NONE.
    :ivar password_file: readable by root only; used when there is a user.
    :ivar ca: certificates to trust instead of the host's own, as a file.
    """

    to: tuple[str, ...]
    sender: str
    host: str
    port: int
    tls: str
    user: str = ""
    password_file: str = ""
    ca: str = ""


def parse(text: str) -> Settings | None:
    """None: no mail is wanted.

    :raises HvmError: with all that is wrong at once.
    """
    try:
        raw = json.loads(text)
    except ValueError as exc:
        raise HvmError(f"{PATH} is not JSON: {exc}", REMEDY) from exc
    if not isinstance(raw, dict):
        raise HvmError(f"{PATH} is not a JSON object", REMEDY)
    if not raw.get("to"):
        return None
    wrong = list(_mistakes(raw))
    if wrong:
        raise HvmError(f"{PATH} cannot be used: {'; '.join(wrong)}", REMEDY)
    words = {name: raw.get(name) or "" for name in ("user", "password_file", "ca")}
    port = raw.get("port") or PORTS[raw["tls"]]
    return Settings(tuple(raw["to"]), raw["from"], raw["host"], port, raw["tls"], **words)


def _mistakes(raw: dict[str, t.Any]) -> t.Iterator[str]:
    to = raw["to"]
    if not isinstance(to, list):
        yield f"'to' must be a list of addresses, not {to!r}"
        to = []
    for address in [*to, raw.get("from")]:
        if not isinstance(address, str) or not _ADDRESS.match(address):
            yield f"{address!r} is no mail address"
    for name in ("host", "user", "password_file", "ca"):
        if not isinstance(raw.get(name, ""), str) or (name == "host" and not raw.get(name)):
            yield f"'{name}' is {raw.get(name)!r}"
    port = raw.get("port", 0)
    if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port <= 65535:
        yield f"'port' is {port!r}"
    if raw.get("tls") not in PORTS:
        yield f"'tls' must be {', '.join(PORTS)}, not {raw.get('tls')!r}"
    if raw.get("user") and not raw.get("password_file"):
        yield "'user' needs a 'password_file'"
    if raw.get("user") and raw.get("tls") == NONE and not _is_here(str(raw.get("host"))):
        yield f"a password goes to {raw.get('host')} over TLS only ('tls' is none)"


def _is_here(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def load(path: str = PATH) -> Settings | None:
    """None: no mail is wanted. :raises HvmError: when the file cannot be used."""
    text = read_text(path)
    return None if text is None else parse(text)


def compose(settings: Settings, subject: str, lines: t.Sequence[str]) -> email.message.EmailMessage:
    import email.message
    import email.policy
    import email.utils

    def plain(text: str) -> str:
        return text.encode("utf-8", "backslashreplace").decode()

    message = email.message.EmailMessage(email.policy.SMTP)
    words = " ".join(plain(subject).split())
    message["Subject"] = words if len(words) <= SUBJECT else f"{words[: SUBJECT - 3]}..."
    message["From"] = settings.sender
    message["To"] = ", ".join(settings.to)
    message["Date"] = email.utils.localtime()
    message["Message-ID"] = email.utils.make_msgid(domain=settings.sender.partition("@")[2])
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no absence notice comes back
    message.set_content("".join(f"{plain(line)}\n" for line in lines))
    return message


def send(settings: Settings, message: email.message.EmailMessage) -> list[str]:
    """:return: warnings: recipients that the server does not take.
    :raises HvmError: when nobody got it.
    """
    import smtplib

    where = f"{settings.host}:{settings.port}"
    try:
        with _connected(settings) as server:
            if settings.user:
                server.login(settings.user, _password(settings.password_file))
            refused = server.send_message(message, settings.sender, list(settings.to))
    except smtplib.SMTPRecipientsRefused as exc:
        raise HvmError(f"{where} takes no mail for {_refusals(exc.recipients)}", REMEDY) from exc
    except (OSError, smtplib.SMTPException, ValueError) as exc:  # those of ssl are OSErrors or ValueErrors
        said = " ".join(str(exc).split()) or type(exc).__name__
        raise HvmError(f"the mail could not be sent by {where}: {said}", REMEDY) from exc
    return [f"{where} takes no mail for {_refusals(refused)}"] if refused else []


@contextlib.contextmanager
def _connected(settings: Settings) -> t.Iterator[smtplib.SMTP]:
    import smtplib
    import ssl

    name = os.uname().nodename  # smtplib would ask the DNS for it, which may take as long as it likes
    context = ssl.create_default_context(cafile=settings.ca or None) if settings.tls != NONE else None
    if settings.tls == TLS:
        server: smtplib.SMTP = smtplib.SMTP_SSL(settings.host, settings.port, name, timeout=TIMEOUT, context=context)
    else:
        server = smtplib.SMTP(settings.host, settings.port, name, timeout=TIMEOUT)
    with server:
        if settings.tls == STARTTLS:
            server.starttls(context=context)
        yield server


def _refusals(refused: t.Mapping[str, tuple[int, bytes]]) -> str:
    return "; ".join(f"{to} ({code} {text.decode(errors='replace')})" for to, (code, text) in sorted(refused.items()))


def _password(path: str) -> str:
    """:raises HvmError: for a file that others may read: then it is known already."""
    text = read_text(path)
    if text is None:
        raise HvmError(f"there is no file {path} with the password for the mail server", REMEDY)
    if os.stat(path).st_mode & 0o077:
        raise HvmError(f"{path} holds a password and others than root may read it", f"chmod 600 {path}; better change it, too.")
    return text.rstrip("\n")
