"""Lets in the gateway's requests for one session."""

import base64
import binascii
import re
import threading

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from contract import INNER_HEADER, PROOF_HEADER, SESSION_HEADER
from problem import Problem

PROOFS_REMEMBERED = 16
# `<expiry, ms>.<signature>` by Ed25519 over session and expiry.
PROOF = re.compile(r"([1-9]\d{0,15})\.([\w-]{86})", re.ASCII)


def proof_key(raw_base64):
    """The gateway's public key from its raw 32 bytes, as the workspace is told it: not a secret."""
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(raw_base64))


def refuse_clients(call):
    """The door takes this header away from every client; to who comes without it there is no such route."""
    if call.headers.get(INNER_HEADER) != "1":
        raise Problem("route_not_found", path=call.path)


class Guard:
    """The first good proof binds this process to its session for life."""

    def __init__(self, key, now_ms):
        self._key, self._now_ms = key, now_ms
        self._lock = threading.Lock()
        self._session = None
        # Proofs that verified, with their expiry: a signature costs a tenth of a millisecond to check.
        self._verified = {}

    def admit(self, headers):
        """Returns for a request that proves whose it is; everything else is a Problem."""
        session, proof = headers.get(SESSION_HEADER), headers.get(PROOF_HEADER)
        with self._lock:
            if session and proof and self._session in (None, session) and self._proves(session, proof):
                self._session = session
                return
        raise Problem("unauthenticated", detail="This request carries no proof for the session of this workspace")

    def _proves(self, session, proof):
        now = self._now_ms()
        known = self._verified.get(proof) if session == self._session else None
        if known is not None:
            return known > now
        expiry = self._expiry_of(session, proof)
        if expiry is None or expiry <= now:
            return False
        if len(self._verified) >= PROOFS_REMEMBERED:
            self._verified.clear()
        self._verified[proof] = expiry
        return True

    def _expiry_of(self, session, proof):
        """When a proof ends that the gateway signed for this session; None for any other."""
        found = PROOF.fullmatch(proof)
        if not found:
            return None
        message = f"cleanroom-proof\n{session}\n{found[1]}"
        try:
            self._key.verify(base64.urlsafe_b64decode(found[2] + "=="), message.encode())
        except (InvalidSignature, binascii.Error, UnicodeEncodeError):
            return None
        return int(found[1])
