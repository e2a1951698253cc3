"""The contract of the workspace as the build wrote it: what is answered, every Problem, every bound."""

import json
import os

import schema

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "contract.json"), encoding="utf-8") as file:
    _contract = json.load(file)

OPERATIONS = {
    name: {**facts, **{part: schema.prepare(facts[part]) for part in ("query", "body") if part in facts}}
    for name, facts in _contract["operations"].items()
}
PROBLEMS = _contract["problems"]
LIMITS = _contract["limits"]
TEMPLATE_TYPE_VARIABLE = _contract["variables"]["templateType"]
IMAGE_VARIABLE = _contract["variables"]["image"]
BROWSER_TYPES = frozenset(_contract["browserTypes"])
SESSION_HEADER = _contract["headers"]["session"]
PROOF_HEADER = _contract["headers"]["proof"]
INNER_HEADER = _contract["headers"]["inner"]
CLIENT_HEADER = _contract["headers"]["client"]
SERVED_HEADER = _contract["headers"]["served"]
FILES_HEADER = _contract["headers"]["snapshotFiles"]
SKIPPED_HEADER = _contract["headers"]["snapshotSkipped"]
