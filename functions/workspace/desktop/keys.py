"""Keys by the names that people and agents give them, as the symbols that X knows."""

import unicodedata

from problem import Problem

UNICODE = 0x01000000
MODIFIERS = {
    "ctrl": 0xFFE3, "control": 0xFFE3, "shift": 0xFFE1, "alt": 0xFFE9, "option": 0xFFE9, "super": 0xFFEB, "meta": 0xFFEB,
    "win": 0xFFEB, "cmd": 0xFFEB, "command": 0xFFEB, "control_l": 0xFFE3, "control_r": 0xFFE4, "shift_l": 0xFFE1,
    "shift_r": 0xFFE2, "alt_l": 0xFFE9, "alt_r": 0xFFEA, "super_l": 0xFFEB, "super_r": 0xFFEC, "meta_l": 0xFFE7, "meta_r": 0xFFE8,
}  # fmt: skip
SHIFTS = (0xFFE1, 0xFFE2)
NAMED = {
    **MODIFIERS,
    "return": 0xFF0D, "enter": 0xFF0D, "kp_enter": 0xFF8D, "tab": 0xFF09, "escape": 0xFF1B, "esc": 0xFF1B, "backspace": 0xFF08,
    "delete": 0xFFFF, "del": 0xFFFF, "insert": 0xFF63, "home": 0xFF50, "end": 0xFF57, "page_up": 0xFF55, "pageup": 0xFF55,
    "prior": 0xFF55, "page_down": 0xFF56, "pagedown": 0xFF56, "next": 0xFF56, "left": 0xFF51, "up": 0xFF52, "right": 0xFF53,
    "down": 0xFF54, "arrowleft": 0xFF51, "arrowup": 0xFF52, "arrowright": 0xFF53, "arrowdown": 0xFF54, "space": 0x20,
    "caps_lock": 0xFFE5, "capslock": 0xFFE5, "num_lock": 0xFF7F, "print": 0xFF61, "menu": 0xFF67, "pause": 0xFF13,
    "plus": 0x2B, "minus": 0x2D, "equal": 0x3D, "comma": 0x2C, "period": 0x2E, "slash": 0x2F, "backslash": 0x5C,
    "semicolon": 0x3B, "apostrophe": 0x27, "grave": 0x60, "bracketleft": 0x5B, "bracketright": 0x5D, "underscore": 0x5F,
    "exclam": 0x21, "question": 0x3F, "asterisk": 0x2A, "at": 0x40, "numbersign": 0x23, "dollar": 0x24, "percent": 0x25,
    "ampersand": 0x26, "parenleft": 0x28, "parenright": 0x29, "colon": 0x3A, "quotedbl": 0x22, "less": 0x3C, "greater": 0x3E,
    **{f"f{number}": 0xFFBD + number for number in range(1, 25)},
    **{f"kp_{digit}": 0xFFB0 + digit for digit in range(10)},
}  # fmt: skip
# What a key says with shift, on the display's own layout.
SHIFTED = dict(zip("1234567890-=[]\\;',./`", '!@#$%^&*()_+{}|:"<>?~'))
TYPED = {"\n": 0xFF0D, "\r": 0xFF0D, "\t": 0xFF09, "\b": 0xFF08}


def chord_of(keys):
    """The symbols of a chord in the order in which they are pressed: `ctrl+shift+t`, or its keys one by one."""
    names = [keys] if isinstance(keys, str) else keys
    parts = [part for name in names for part in split(name)]
    symbols = [symbol_of(part) for part in parts]
    if not any(symbol in SHIFTS for symbol in symbols):
        return symbols
    # With shift held a key says its other symbol, and the display takes the first one for the key without it.
    return [shifted(symbol) for symbol in symbols]


def split(name):
    """The keys that a name joins by `+`, which is a key itself where it stands alone or last."""
    if len(name) <= 1 or "+" not in name:
        return [name]
    if name.endswith("++"):
        return [*name[:-2].split("+"), "+"]
    return name.split("+")


def symbol_of(name):
    found = NAMED.get(name.strip().lower()) if len(name.strip()) > 1 else None
    if found is not None:
        return found
    if len(name) == 1 and (symbol := typed(name)) is not None:
        return symbol
    detail = f"{name!r} is no key"
    raise Problem("invalid_request", detail=detail, key=name, next="Use names such as Return, Escape, ctrl, F5, Page_Down, or one character.")


def typed(character):
    """The symbol of a character as it is typed; None for one that no key could be."""
    code = ord(character)
    if character in TYPED:
        return TYPED[character]
    if unicodedata.category(character) in ("Cc", "Cs", "Cn"):
        return None
    return code if 0x20 <= code <= 0xFF else UNICODE | code


def shifted(symbol):
    character = chr(symbol) if 0x20 <= symbol < 0x7F else ""
    return ord(SHIFTED.get(character, character.upper())) if character else symbol
