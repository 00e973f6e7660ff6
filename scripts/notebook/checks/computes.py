"""Asks JupyterLab as a browser does: it refuses who has no token, and a kernel computes for who has it."""

import json
import os
import socket
import uuid
from http.client import HTTPConnection
from pathlib import Path

from websocket import create_connection

PLUGIN = Path(__file__).resolve().parents[1]
SETTINGS = (PLUGIN / "settings.sh").read_text().splitlines()
PORT = next(line.partition("=")[2] for line in SETTINGS if line.startswith("CM_SETTING_PORT="))
ADDRESS = f"{os.environ['CM_MASTER_IP']}:{PORT}"
TOKEN = {"Authorization": "token " + Path("/etc/jupyterlab/token").read_text().strip()}
TIMEOUT = 60


def ask(method: str, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
    """Return the status and the body of an answer."""
    connection = HTTPConnection(ADDRESS, timeout=TIMEOUT)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def computed(kernel: str, code: str) -> str:
    """Return what code prints in a kernel."""
    address = f"ws://{ADDRESS}/api/kernels/{kernel}/channels?session_id=cm"
    connection = create_connection(address, header=TOKEN, timeout=TIMEOUT)
    identity = uuid.uuid4().hex
    header = {"msg_id": identity, "msg_type": "execute_request", "session": "cm", "username": "cm", "version": "5.3"}
    content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
    request = {"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content}
    connection.send(json.dumps(request))
    try:
        while True:
            message = json.loads(connection.recv())
            if message["msg_type"] in ("stream", "error") and message["parent_header"]["msg_id"] == identity:
                return str(message["content"].get("text") or message["content"].get("evalue"))
    finally:
        connection.close()


refused, _ = ask("GET", "/api/status", {})
granted, _ = ask("GET", "/api/status", TOKEN)
if (refused, granted) != (403, 200):
    raise SystemExit(f"/api/status: {refused} without the token, expected 403; {granted} with it, expected 200")
status, body = ask("POST", "/api/kernels", TOKEN)
if status != 201:
    raise SystemExit(f"no kernel: {status} {body.decode(errors='replace')[:200]}")
started = json.loads(body)["id"]
try:
    said = computed(started, "import socket; print(6 * 7, socket.gethostname())")
finally:
    ask("DELETE", f"/api/kernels/{started}", TOKEN)
if said.split() != ["42", socket.gethostname()]:
    raise SystemExit(f"the kernel said {said!r}")
print(f"{refused} without the token, {granted} with it, a kernel computes")
