"""What every program of the user's starts with, and what it may not start with."""

import os
import re

from contract import LIMITS
from paths import file_problem
from problem import Problem

# The variable by which a tree of processes is found again, also where its parents have gone.
TREE_VARIABLE = "CLEANROOM_TREE"
HOME = "/home/user"
VARIABLE_NAME = re.compile(r"[A-Za-z_]\w{0,127}", re.ASCII)


def base_environment(home=HOME):
    """Variables that every program starts with; nothing of the workspace's own goes along."""
    return {
        "PATH": f"{home}/.local/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": home,
        "USER": "user",
        "LOGNAME": "user",
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "MPLBACKEND": "Agg",
        # Where the workspace takes spans; `collector` listens there.
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json",
    }


def check_launch(cwd, variables):
    """Refuses a folder that a program could not be started in, and variables that the system would not take."""
    for name, value in variables.items():
        if not VARIABLE_NAME.fullmatch(name):
            raise Problem("invalid_request", detail=f"{json_text(name)} is not a variable name", variable=name)
        if "\0" in value:
            raise Problem("invalid_request", detail=f"The variable {name} holds a NUL", variable=name)
        if len(value.encode("utf-8", "replace")) > LIMITS["commandBytes"]:
            detail, limit = f"The variable {name} is too long", LIMITS["commandBytes"]
            raise Problem("invalid_request", detail=detail, limitBytes=limit)
    try:
        os.stat(f"{cwd}/.")
    except OSError as error:
        raise file_problem(error, cwd) from error


def json_text(text):
    import json

    return json.dumps(text, ensure_ascii=False)
