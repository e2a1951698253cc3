"""What failed on our side, one line each: the instance's log is its only reader."""

import json
import sys
import traceback


def log_failure(what, error, request_id=None):
    """Writes one line to stderr."""
    text = "".join(traceback.format_exception(error))
    facts = {"event": "failed", "what": what, "requestId": request_id, "error": text}
    sys.stderr.write(json.dumps(facts) + "\n")
    sys.stderr.flush()
