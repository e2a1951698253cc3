"""The one error of the workspace, and how it is answered."""

from contract import PROBLEMS


class Problem(Exception):
    """A refusal by a code of the contract. `detail` is the sentence about this case; other facts become `details`."""

    def __init__(self, code, **facts):
        self.code = code
        self.facts = facts
        detail = facts.get("detail")
        super().__init__(detail if isinstance(detail, str) else PROBLEMS[code]["title"])

    @property
    def status(self):
        return PROBLEMS[self.code]["status"]

    def body(self, request_id):
        """Both shapes in one document: our own Problem, and the `error` where AgentRun's clients look."""
        row, detail = PROBLEMS[self.code], str(self)
        details = {name: fact for name, fact in self.facts.items() if name not in ("detail", "next")}
        return {
            "type": f"urn:cleanroom:problem:{self.code}",
            "title": row["title"],
            "status": row["status"],
            "code": self.code,
            "detail": detail,
            "message": detail,
            "next": self.facts.get("next", row["next"]),
            "retry": row["retry"],
            "requestId": request_id,
            "details": details,
            "error": {"code": self.code, "message": detail, "details": details},
        }
