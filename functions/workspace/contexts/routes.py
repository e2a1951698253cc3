"""The context routes."""

from call import STREAMED
from contexts.output import KeptOutput, SentOutput
from environment import trace_variables
from events import EVENT_HEADERS, wants_events
from launch import check_launch
from problem import Problem

EXIT_CODES = {"ok": 0, "error": 1, "timeout": 124, "interrupted": 130, "oom": 137, "killed": 137}


def routes(contexts):
    """What answers which operation."""
    return {
        "listContexts": lambda _call: [context.show() for context in contexts.list()],
        "createContext": lambda call: contexts.create(call.body["language"], call.body["cwd"]).show(),
        "getContext": lambda call: contexts.get(call.params["contextId"]).show(),
        "deleteContext": lambda call: contexts.delete(call.params["contextId"]),
        "restartContext": lambda call: restart(contexts.get(call.params["contextId"])),
        "interruptContext": lambda call: {"interrupted": contexts.get(call.params["contextId"]).interrupt()},
        "execute": lambda call: execute(contexts, call),
    }


def restart(context):
    context.restart()
    return context.show()


def execute(contexts, call):
    body = call.body
    if "\0" in body["code"]:
        raise Problem("invalid_request", detail="The code holds a NUL")
    variables = {**trace_variables(call), **(body.get("environment") or {})}
    check_launch("/", variables)
    context = contexts.find(body.get("contextId"), body.get("language"))
    cell = (call, body["code"], variables, body["timeout"] * 1000)
    return streamed(context, call, cell) if wants_events(call) else kept(context, cell)


def kept(context, cell):
    output = KeptOutput()
    end = context.execute(*cell, output)
    return {
        "contextId": context.id,
        "results": [*output.items(), end],
        "stdout": output.text("stdout"),
        "stderr": output.text("stderr"),
        "exitCode": EXIT_CODES[end["status"]],
    }


def streamed(context, call, cell):
    output = SentOutput(call.stream(200, {**EVENT_HEADERS, "cleanroom-context-id": context.id}))
    output.send(context.execute(*cell, output))
    return STREAMED
