# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import pathlib
import socket
import sys
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core import mail
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from smtp_server import PASSWORD, Server, free_port, serving

# Of the server: its TLS is around all that it sees.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")

RAW = {"to": ["ops@example.org"], "from": "hvm@hv1.example.org", "host": "localhost", "tls": "none"}


def settings(server: Server, **more: t.Any) -> mail.Settings:
    found = mail.parse(json.dumps({**RAW, "port": server.port, "ca": server.ca, **more}))
    assert found is not None
    return found


def send(where: mail.Settings, subject: str = "so", lines: t.Sequence[str] = ("so",)) -> list[str]:
    return mail.send(where, mail.compose(where, subject, lines))


@pytest.fixture(name="password")
def _password(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n")
    path.chmod(0o600)
    return path


def test_a_report_arrives_as_it_was_written(tmp_path: pathlib.Path) -> None:
    lines = ["Pair office", "", "VM café \u2192 läuft", "x" * 3000, ". and a line that begins with a dot", "\udcff no text"]
    with serving(tmp_path) as server:
        where = settings(server, to=["ops@example.org", "boss@example.org"])
        assert send(where, "[hvm office] hv1: FAILED: cannot\nopen é", lines) == []
        ((to, message, tls, user),) = server.got
    assert (to, tls, user) == (["ops@example.org", "boss@example.org"], False, "")
    assert message["Subject"] == "[hvm office] hv1: FAILED: cannot open é"
    assert message["From"] == "hvm@hv1.example.org" and message["To"] == "ops@example.org, boss@example.org"
    assert message["Auto-Submitted"] == "auto-generated" and message["Message-ID"].endswith("@hv1.example.org>")
    assert message["Date"]
    assert message.get_content().replace("\r\n", "\n") == "\n".join([*lines[:-1], "\\udcff no text", ""])


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_over_tls_with_a_password(tmp_path: pathlib.Path, password: pathlib.Path, tls: str) -> None:
    with serving(tmp_path, tls, login=True) as server:
        send(settings(server, tls=tls, user="hvm", password_file=str(password)))
        ((_to, _message, over_tls, user),) = server.got
        assert (over_tls, user) == (True, "hvm")
        password.write_text("wrong")
        with pytest.raises(HvmError, match=rf"the mail could not be sent by localhost:{server.port}: .*535"):
            send(settings(server, tls=tls, user="hvm", password_file=str(password)))
        assert len(server.got) == 1


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_a_server_that_nobody_vouches_for_gets_no_password_and_no_mail(
    tmp_path: pathlib.Path, password: pathlib.Path, tls: str
) -> None:
    with serving(tmp_path, tls, login=True) as server:
        where = settings(server, tls=tls, user="hvm", password_file=str(password), ca="")
        with pytest.raises(HvmError, match="certificate verify failed") as caught:
            send(where)
        assert caught.value.remedy == mail.REMEDY and PASSWORD not in str(caught.value)
        assert server.got == []


def test_a_server_without_tls_gets_none_in_the_clear_instead(tmp_path: pathlib.Path) -> None:
    with serving(tmp_path) as server:
        with pytest.raises(HvmError, match="STARTTLS extension not supported"):
            send(settings(server, tls="starttls"))
        assert server.got == []


def test_who_is_refused_is_named_and_the_others_get_it(tmp_path: pathlib.Path) -> None:
    with serving(tmp_path) as server:
        server.strangers = {"gone@example.org"}
        where = settings(server, to=["gone@example.org", "ops@example.org"])
        assert send(where) == [f"localhost:{server.port} takes no mail for gone@example.org (550 no such user here)"]
        assert [to for to, *_rest in server.got] == [["ops@example.org"]]
        with pytest.raises(HvmError, match=r"takes no mail for gone@example.org \(550 no such user here\)"):
            send(settings(server, to=["gone@example.org"]))
        server.answer = "554 that is spam"
        with pytest.raises(HvmError, match="554, b'that is spam'"):
            send(settings(server))


def test_nobody_there_or_nobody_who_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    where = mail.Settings(("ops@example.org",), "hvm@hv1", "localhost", free_port(), "none")
    with pytest.raises(HvmError, match=r"the mail could not be sent by localhost:[0-9]+: .*Connection refused"):
        send(where)
    monkeypatch.setattr(mail, "TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(HvmError, match="timed out"):
        send(where._replace(port=silent.getsockname()[1]))


@pytest.mark.parametrize(
    ("mode", "there", "said"), [(0o640, True, "others than root may read it"), (0o600, False, "there is no file")]
)
def test_a_password_that_others_may_read_is_not_used(
    tmp_path: pathlib.Path, password: pathlib.Path, mode: int, there: bool, said: str
) -> None:
    password.chmod(mode)
    if not there:
        password.unlink()
    with serving(tmp_path, login=True) as server:
        with pytest.raises(HvmError, match=said):
            send(settings(server, user="hvm", password_file=str(password)))
        assert server.got == []


@pytest.mark.parametrize(
    ("more", "port"), [({}, 25), ({"tls": "starttls"}, 587), ({"tls": "tls"}, 465), ({"tls": "tls", "port": 2525}, 2525)]
)
def test_the_port_follows_from_the_tls(more: dict[str, t.Any], port: int) -> None:
    found = mail.parse(json.dumps({**RAW, **more}))
    assert found and found.port == port


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ({"to": ["ops"]}, "'ops' is no mail address"),
        ({"to": ["ops@example.org\nBcc: all@example.org"]}, "is no mail address"),
        ({"to": ["ops@example.org, all@example.org"]}, "is no mail address"),
        ({"to": "ops@example.org"}, "'to' must be a list of addresses"),
        ({"from": "hvm <hvm@example.org>"}, "is no mail address"),
        ({"from": None}, "None is no mail address"),
        ({"host": ""}, "'host' is ''"),
        ({"port": "25"}, "'port' is '25'"),
        ({"port": 70000}, "'port' is 70000"),
        ({"tls": "maybe"}, "'tls' must be none, starttls, tls, not 'maybe'"),
        ({"user": "hvm"}, "'user' needs a 'password_file'"),
        ({"user": "hvm", "password_file": "/x", "host": "mail.example.org"}, "a password goes to mail.example.org over TLS only"),
    ],
)
def test_what_cannot_be_used_is_named(more: dict[str, t.Any], fault: str) -> None:
    with pytest.raises(HvmError) as caught:
        mail.parse(json.dumps({**RAW, **more}))
    assert caught.value.what.startswith(f"{mail.PATH} cannot be used: ") and fault in caught.value.what


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(HvmError, match=r"'x' is no mail address; .*'port' is -1; 'tls' must be"):
        mail.parse(json.dumps({**RAW, "from": "x", "port": -1, "tls": ""}))


def test_without_recipients_or_a_file_no_mail_is_wanted(tmp_path: pathlib.Path) -> None:
    assert mail.parse('{"to": []}') is None
    assert mail.load(str(tmp_path / "mail.json")) is None
    (tmp_path / "mail.json").write_text("{")
    with pytest.raises(HvmError, match="is not JSON"):
        mail.load(str(tmp_path / "mail.json"))
    with pytest.raises(HvmError, match="is not a JSON object"):
        mail.parse("[]")


def test_a_subject_is_not_longer_than_anybody_reads() -> None:
    where = mail.Settings(("a@b",), "a@b", "localhost", 25, "none")
    assert len(mail.compose(where, "word " * 100, [])["Subject"]) == mail.SUBJECT
