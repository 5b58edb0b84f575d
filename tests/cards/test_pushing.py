"""A push by the library of the hub, to a stand-in for the hub on this machine."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from detour.cards.about_file import About
from detour.cards.hub_folder import RECORD, Record
from detour.cards.pushing import push
from detour.errors import UserError


@dataclass
class Hub:
    endpoint: str = ""
    files: dict[str, str] = field(default_factory=dict)
    """Repository/path -> content, as committed."""
    commits: int = 0
    refuses: bool = False


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.hub.refuses:
            self.answer({"error": "You don't have the rights to create a model under this namespace"}, 403)
        elif self.path == "/api/repos/create":
            asked = json.loads(body)
            self.answer({"url": f"https://huggingface.co/{asked['organization']}/{asked['name']}"})
        elif "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]
            self.answer({"files": modes})
        elif found := re.match(r"/api/models/(.+)/commit/main", self.path):
            self.commit(found[1], [json.loads(line) for line in body.splitlines()])
        else:
            self.answer({"errors": [], "warnings": []})

    def commit(self, repository: str, lines: list[dict[str, Any]]) -> None:
        self.hub.commits += 1
        for line in lines:
            if line["key"] == "file":
                content = base64.b64decode(line["value"]["content"]).decode()
                self.hub.files[f"{repository}/{line['value']['path']}"] = content
        address = f"{self.hub.endpoint}/{repository}/commit/{self.hub.commits:040x}"
        self.answer({"success": True, "commitOid": f"{self.hub.commits:040x}", "commitUrl": address})

    def do_GET(self) -> None:
        if self.hub.refuses:
            return self.answer({"error": "not found"}, 404)
        return self.answer({"id": "someone/made-up", "sha": "0" * 40, "siblings": [], "private": False, "gated": False})

    def answer(self, content: Any, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("HF_TOKEN", "hf_made_up")
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield hub
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n# Made up\n")
    (tmp_path / "config.json").write_text("{}")
    record = Record("made-up", "id", About(repository="someone/made-up"))
    (tmp_path / RECORD).write_text(json.dumps(record.to_json()))
    return tmp_path


def test_all_files_are_pushed_in_one_commit(hub: Hub, folder: Path) -> None:
    address = push(folder, None, endpoint=hub.endpoint)
    assert address == f"{hub.endpoint}/someone/made-up/commit/{1:040x}"
    assert hub.commits == 1
    assert set(hub.files) == {f"someone/made-up/{name}" for name in ("README.md", "config.json", RECORD)}
    assert hub.files["someone/made-up/config.json"] == "{}"


def test_the_repository_can_be_given(hub: Hub, folder: Path) -> None:
    push(folder, "other/name", endpoint=hub.endpoint)
    assert "other/name/README.md" in hub.files


def test_a_refusal_of_the_hub_is_quoted(hub: Hub, folder: Path) -> None:
    hub.refuses = True
    with pytest.raises(UserError, match=r"someone/made-up: the hub refused it \(You don't have .*\); log in"):
        push(folder, None, endpoint=hub.endpoint)
    assert hub.files == {}


def test_without_a_network_the_message_suggests_the_login_node(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_made_up")
    with pytest.raises(UserError, match="the hub cannot be reached"):
        push(folder, None, endpoint="http://127.0.0.1:9")


def test_a_folder_without_a_card_or_a_repository_is_not_pushed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no README\.md"):
        push(tmp_path, "a/b")
    (tmp_path / "README.md").write_text("# A")
    with pytest.raises(UserError, match="no repository: give --repository"):
        push(tmp_path, None)


def test_an_invalid_repository_name_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="a b/c: not the name of a repository, expected OWNER/NAME"):
        push(folder, "a b/c")
