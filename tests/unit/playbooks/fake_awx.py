# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""As much of AWX as the modules of awx.awx ask of it, over HTTP: lists by name, creation, change, association, surveys; and what
a launch makes of answers. What it accepts and refuses is what AWX 24 does (its serializers and its survey views)."""

from __future__ import annotations

import http.server
import json
import pathlib
import re
import threading
import typing as t
import urllib.parse

import dateutil.rrule

#: kind -> what AWX fills in, which is also every field that it keeps; what is not here is ignored by it, as by this.
FIELDS: dict[str, dict[str, t.Any]] = {
    "organizations": {"description": ""},
    "credentials": {"description": "", "organization": None},
    "execution_environments": {"description": "", "organization": None, "image": "", "pull": "", "credential": None},
    "projects": {
        "description": "", "organization": None, "scm_type": "", "scm_url": "", "scm_branch": "", "credential": None,
        "scm_update_on_launch": False, "scm_revision": "", "default_environment": None,
    },
    "inventories": {"description": "", "organization": None, "kind": "", "host_filter": None, "variables": ""},
    "hosts": {"description": "", "inventory": None, "enabled": True, "variables": ""},
    "groups": {"description": "", "inventory": None, "variables": ""},
    "job_templates": {
        "description": "", "organization": None, "project": None, "inventory": None, "playbook": "", "job_type": "run",
        "execution_environment": None, "extra_vars": "", "limit": "", "allow_simultaneous": False, "job_slice_count": 1,
        "survey_enabled": False, "become_enabled": False, "ask_job_type_on_launch": False, "ask_limit_on_launch": False,
        "ask_variables_on_launch": False,
    },
    "schedules": {"description": "", "unified_job_template": None, "rrule": "", "enabled": True},
}  # fmt: skip
#: Fields that hold the id of another thing -> its kind
LINKS = {"organization": "organizations", "project": "projects", "inventory": "inventories", "credential": "credentials",
         "execution_environment": "execution_environments", "unified_job_template": "job_templates"}  # fmt: skip
#: What may be null in the database of AWX; the rest may not.
NULLABLE = {*LINKS, "host_filter", "default_environment"}
QUESTION_TYPES = ("text", "textarea", "password", "multiplechoice", "multiselect", "integer", "float")


def playbooks(project: pathlib.Path) -> set[str]:
    """Files at the root of a project that AWX offers as playbooks: one of their lines begins a play or imports another."""
    begins = re.compile(r"^ *-? *(?:hosts|(?:ansible\.builtin\.)?import_playbook):", re.MULTILINE)
    return {path.name for path in project.glob("*.yml") if begins.search(path.read_text())}


def survey_fault(survey: dict[str, t.Any]) -> str:
    """Why AWX refuses to keep this survey; "" when it keeps it."""
    for field, kind in (("name", str), ("description", str), ("spec", list)):
        if not isinstance(survey.get(field), kind):
            return f"{field} is missing, or is no {kind.__name__}"
    names = [question.get("variable") for question in survey["spec"]]
    if not names or len(set(names)) != len(names):
        return "no question, or two for one variable"
    for question in survey["spec"]:
        for field in ("type", "question_name", "variable"):
            if not isinstance(question.get(field), str):
                return f"{field} is missing in {question}"
        if not isinstance(question.get("required"), bool) or question["type"] not in QUESTION_TYPES:
            return f"required or type of {question['variable']}"
        if any(not isinstance(question[limit], int) for limit in ("min", "max") if limit in question):
            return f"min or max of {question['variable']}"
        if question["type"] in ("multiplechoice", "multiselect"):
            if not question.get("choices"):
                return f"{question['variable']} has no choices"
            if question.get("default") and question["default"] not in question["choices"]:
                return f"the default of {question['variable']} is none of its choices"
    return ""


def answer_fault(question: dict[str, t.Any], answers: dict[str, t.Any]) -> str:
    """Why AWX does not launch with this answer; "" when it does."""
    name = question["variable"]
    if name not in answers:
        return f"'{name}' value missing" if question["required"] else ""
    answer = answers[name]
    if question["type"] == "multiplechoice":
        return "" if answer in question["choices"] else f"Value {answer} for '{name}' expected to be one of {question['choices']}"
    if not isinstance(answer, str):
        return f"Value {answer} for '{name}' expected to be a string"
    if not question.get("min", 0) <= len(answer) <= question.get("max", len(answer)):
        return f"'{name}' value {answer} is too small or too large"
    return ""


class FakeAWX:
    """
    :ivar things: kind -> the objects, as the API shows them.
    :ivar writes: every request that was not a GET, as ``METHOD path``.
    """

    token = "a-token-that-nobody-may-see"

    def __init__(self, project: pathlib.Path) -> None:
        self.project = project
        self.things: dict[str, list[dict[str, t.Any]]] = {kind: [] for kind in FIELDS}
        self.surveys: dict[int, dict[str, t.Any]] = {}
        self.joined: dict[tuple[str, int, str], list[int]] = {}
        self.writes: list[str] = []
        self.ids = 0
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    # what a test asks

    def names(self, kind: str) -> list[str]:
        return [thing["name"] for thing in self.things[kind]]

    def one(self, kind: str, name: str) -> dict[str, t.Any]:
        (found,) = [thing for thing in self.things[kind] if thing["name"] == name]
        return found

    def remove(self, kind: str, name: str) -> None:
        """As somebody who deletes it in AWX; its associations go with it."""
        gone = self.one(kind, name)
        self.things[kind].remove(gone)
        for (_kind, _one, to), ids in self.joined.items():
            if to == kind and gone["id"] in ids:
                ids.remove(gone["id"])

    def linked(self, kind: str, name: str, to: str) -> list[str]:
        """Names of what is associated with a thing: the credentials of a template, the hosts of a group."""
        ids = self.joined.get((kind, self.one(kind, name)["id"], to), [])
        return [thing["name"] for thing in self.things[to] if thing["id"] in ids]

    def launch(self, name: str, answers: dict[str, t.Any], limit: str | None = None) -> tuple[dict[str, t.Any], list[str]]:
        """What a job gets as extra variables, and why it is not launched.

        The template's own come first, then what the survey has as defaults, then the answers.
        """
        template = self.one("job_templates", name)
        questions = self.surveys[template["id"]]["spec"] if template["survey_enabled"] else []
        faults = [fault for question in questions if (fault := answer_fault(question, answers))]
        known = {question["variable"] for question in questions}
        if not template["ask_variables_on_launch"]:
            faults += [f"{variable} is not allowed on launch" for variable in answers if variable not in known]
        if limit is not None and not template["ask_limit_on_launch"]:
            faults.append("limit is not allowed on launch")
        extra = json.loads(template["extra_vars"] or "{}")
        for question in questions:
            default = question.get("default")
            if default is not None and not answer_fault(question, {question["variable"]: default}):
                extra[question["variable"]] = default
        return {**extra, **answers}, faults

    # what the modules ask

    def add(self, kind: str, /, **fields: t.Any) -> dict[str, t.Any]:
        self.ids += 1
        url = f"/api/v2/{kind}/{self.ids}/"
        thing = {"id": self.ids, "type": kind.rstrip("s"), "url": url, **FIELDS[kind], "summary_fields": {}, "related": {}}
        self.things[kind].append({**thing, **{key: value for key, value in fields.items() if key in thing or key == "name"}})
        return self.things[kind][-1]

    def _fault(self, kind: str, new: dict[str, t.Any], old: dict[str, t.Any] | None) -> str:
        whole = {**FIELDS[kind], **(old or {}), **new}
        for field, value in new.items():
            if value is None and field in FIELDS[kind] and field not in NULLABLE:
                return f"{field} may not be null"
            if value is not None and field in LINKS and value not in [thing["id"] for thing in self.things[LINKS[field]]]:
                return f"{field}: no such id {value}"
        scope = "unified_job_template" if kind == "schedules" else "inventory" if kind in ("hosts", "groups") else "organization"
        for thing in self.things[kind]:
            same = (thing["name"], thing.get(scope)) == (whole.get("name"), whole.get(scope))
            if same and thing["id"] != whole.get("id"):
                return f"there is a {kind} {thing['name']} already"
        if kind == "job_templates" and whole["playbook"] not in playbooks(self.project):
            return f"no playbook {whole['playbook']} in the project"
        return self._rule_fault(whole["rrule"]) if kind == "schedules" else ""

    def _rule_fault(self, rule: str) -> str:
        """As AWX: a start, an interval, and nothing that dateutil cannot read."""
        if not rule.startswith("DTSTART") or "INTERVAL=" not in rule or "SECONDLY" in rule:
            return "rrule: DTSTART and INTERVAL are required"
        try:
            dateutil.rrule.rrulestr(rule.replace(" ", "\n"))
        except ValueError as error:
            return f"rrule: {error}"
        return ""

    def answer(self, method: str, path: str, query: dict[str, str], data: dict[str, t.Any]) -> tuple[int, t.Any]:
        parts = path.removeprefix("/api/v2/").strip("/").split("/")
        if method != "GET":
            self.writes.append(f"{method} {path}")
        kind = parts[0]
        if kind == "project_updates":
            return 200, {"id": 1, "status": "successful", "finished": True, "failed": False}
        if kind == "unified_job_templates" and method == "GET":
            return self._listed([*self.things["job_templates"], *self.things["projects"]], query)
        if kind not in self.things:
            return 404, {"detail": f"no {kind}"}
        if len(parts) == 1:
            return self._listed(self.things[kind], query) if method == "GET" else self._create(kind, data)
        thing = next((one for one in self.things[kind] if str(one["id"]) == parts[1]), None)
        if thing is None:
            return 404, {"detail": f"no {path}"}
        if len(parts) == 3 and parts[2] == "survey_spec":
            return self._survey(method, thing["id"], data)
        if len(parts) == 3:
            return self._associate(method, kind, thing["id"], parts[2], data)
        if method == "DELETE":
            self.things[kind].remove(thing)
            return 204, None
        if method == "PATCH":
            if fault := self._fault(kind, data, thing):
                return 400, {"__all__": [fault]}
            thing.update({key: value for key, value in data.items() if key in thing})
        return 200, thing

    def _listed(self, things: list[dict[str, t.Any]], query: dict[str, str]) -> tuple[int, t.Any]:
        found = [thing for thing in things if all(str(thing.get(key)) == value for key, value in query.items())]
        return 200, {"count": len(found), "next": None, "results": found}

    def _create(self, kind: str, data: dict[str, t.Any]) -> tuple[int, t.Any]:
        if fault := self._fault(kind, data, None):
            return 400, {"__all__": [fault]}
        thing = self.add(kind, **data)
        if kind == "job_templates":
            thing["related"] = {"survey_spec": f"{thing['url']}survey_spec/"}
            project = next(one for one in self.things["projects"] if one["id"] == thing["project"])
            thing["organization"] = project["organization"]
        if kind == "projects":
            thing["summary_fields"] = {"current_update": {"id": 1}}
        return 201, thing

    def _survey(self, method: str, template: int, data: dict[str, t.Any]) -> tuple[int, t.Any]:
        if method == "GET":
            return 200, self.surveys.get(template, {})
        if fault := survey_fault(data):
            return 400, {"error": fault}
        self.surveys[template] = data
        return 200, None

    def _associate(self, method: str, kind: str, one: int, to: str, data: dict[str, t.Any]) -> tuple[int, t.Any]:
        ids = self.joined.setdefault((kind, one, to), [])
        if method == "GET":
            return 200, {"count": len(ids), "next": None, "results": [{"id": number} for number in ids]}
        if data["id"] not in [thing["id"] for thing in self.things[to]]:
            return 400, {"detail": f"no {to} {data['id']}"}
        if data.get("disassociate"):
            ids.remove(data["id"])
        else:
            ids.append(data["id"])
        return 204, None

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        awx = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def _serve(self) -> None:
                address = urllib.parse.urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.headers.get("Authorization") != f"Bearer {awx.token}":
                    status, answer = 401, {"detail": "Authentication credentials were not provided"}
                else:
                    query = dict(urllib.parse.parse_qsl(address.query))
                    status, answer = awx.answer(self.command, address.path, query, json.loads(body or b"{}"))
                text = b"" if answer is None else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("X-API-Product-Name", "AWX")
                self.send_header("X-API-Product-Version", "24.6.1")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PATCH = do_DELETE = _serve

            def log_message(self, *dummy: t.Any) -> None:
                pass

        return Handler
