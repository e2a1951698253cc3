"""A value as the media types that it can be shown in."""

RESULT_LIMIT = 16 * 1024 * 1024
REPRESENTATIONS = {
    "html": "text/html", "markdown": "text/markdown", "svg": "image/svg+xml", "png": "image/png", "jpeg": "image/jpeg",
    "latex": "text/latex", "json": "application/json", "javascript": "application/javascript", "pdf": "application/pdf",
}  # fmt: skip


def bundle(value):
    """The media types of a value: plain text always, richer ones where its class offers them."""
    data = {"text/plain": cut(repr(value), RESULT_LIMIT // 4)}
    if isinstance(value, type):
        return data
    for form, media in REPRESENTATIONS.items():
        call = getattr(value, f"_repr_{form}_", None)
        try:
            shown = call() if callable(call) else None
            if isinstance(shown, tuple):
                shown = shown[0]
            if form == "json" and shown is not None and not isinstance(shown, str):
                shown = __import__("json").dumps(shown, default=str)
        except Exception:
            continue
        if isinstance(shown, (str, bytes)) and len(shown) <= RESULT_LIMIT // 4:
            data[media] = shown
    return data


def cut(text, limit):
    if len(text) <= limit:
        return text
    return text[:limit] + f"\n[... {len(text) - limit} characters dropped ...]\n"
