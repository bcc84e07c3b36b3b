"""Secrets: keeps a token out of the texts that a server sends.

A server may repeat the token in a field, a header or an error, as it is or encoded. So each text is
masked once, as it comes in, before it is cut to length, shown or stored.
"""

from __future__ import annotations

import base64
import html
import json
import logging
import re
from functools import cached_property
from typing import Any, Final, TypeVar
from urllib.parse import quote, quote_plus, unquote
from weakref import WeakSet

import msgspec

#: The text that replaces a secret.
MASK: Final = "***"

#: A shorter secret may be a word of the data ("The token is illegal"), so it is not masked.
SHORTEST_MASKED: Final = 8

_DEFAULT_PASSWORD: Final = "Milvus"  # noqa: S105 -- Milvus' documentation names it
_UNESCAPED_AT_MOST: Final = 3
_ESCAPES: Final = re.compile(
    r"(?:\\+u[0-9a-fA-F]{4})+|(?:\\+x[0-9a-fA-F]{2})+|\\+([^\w\s])|(?:%[0-9a-fA-F]{2})+|&#?\w{1,10};|"
    # UTF-8 that was read as Latin-1.
    r"(?:[\xc2-\xf4][\x80-\xbf]{1,3})+"
)
_BASE64: Final = "[A-Za-z0-9+/_-]*{}[A-Za-z0-9+/_=-]*"

_Struct = TypeVar("_Struct", bound=msgspec.Struct)


class Secrets:
    r"""The secrets of a token: the whole token and the password in it, in any encoding.

    Parameters
    ----------
    token : str
        An API key or ``user:password``; empty for none.

    Examples
    --------
    >>> secrets = Secrets("root:S3cret/pass")
    >>> secrets.masked("no key root:S3cret/pass, or S3cret%2Fpass, or S3cret\\u002fpass")
    'no key ***, or ***, or ***'
    >>> secrets
    Secrets(***)
    """

    def __init__(self, token: str) -> None:
        password = token.partition(":")[2]
        known = dict.fromkeys(filter(None, (token, password)))
        self._secrets: list[str] = []
        self._needles: list[str] = []
        self.add(*known)
        #: Whether a part of the token may be a word, so that it is not masked.
        self.is_too_short = len(self._secrets) < len(known) and password != _DEFAULT_PASSWORD
        _ACTIVE.add(self)

    def add(self, *secrets: str) -> None:
        """Mask these texts as well, each as a whole."""
        new = [secret for secret in secrets if len(secret) >= SHORTEST_MASKED]
        self._secrets = list(dict.fromkeys([*self._secrets, *new]))
        self._needles = sorted(
            {needle.lower() for secret in self._secrets for needle in _needles(secret)}, key=len
        )
        self.__dict__.pop("_pattern", None)

    def __repr__(self) -> str:
        return f"Secrets({MASK if self._needles else ''})"

    def __reduce__(self) -> str:
        raise TypeError("secrets must not be pickled")

    def masked(self, text: str) -> str:
        """The text with every form of a secret replaced by ``***``."""
        if not self.are_in(text):
            return text
        masked = self._pattern.sub(MASK, text)
        # If encodings are mixed in a way that no pattern foresees, no part of the text is shown.
        return MASK if self.are_in(masked) else masked

    def masked_body(self, content: bytes) -> bytes:
        """An answer's body, masked in its decoded strings if it is JSON, else as text."""
        if not self._needles:
            return content
        text = content.decode("utf-8", "replace")
        if not self.are_in(text):
            return content
        try:
            return json.dumps(self.masked_json(json.loads(text))).encode()
        except (ValueError, RecursionError):
            return self.masked(text).encode()

    def masked_json(self, value: Any) -> Any:
        """Decoded JSON with all strings and keys masked."""
        if isinstance(value, str):
            return self.masked(value)
        if isinstance(value, list):
            return [self.masked_json(each) for each in value]
        if isinstance(value, dict):
            masked: dict[str, Any] = {}
            for key, each in value.items():
                name = self.masked(key)
                while name in masked:
                    name += "*"
                masked[name] = self.masked_json(each)
            return masked
        return value

    def masked_struct(self, message: _Struct) -> _Struct:
        """A message of :mod:`importstats.sources.messages` with all strings masked."""
        if not self._needles or not self.are_in(msgspec.json.encode(message).decode()):
            return message
        masked = self.masked_json(msgspec.to_builtins(message))
        return msgspec.convert(masked, type(message))

    def are_in(self, text: str) -> bool:
        """Whether the text has a secret in any form."""
        if not self._needles:
            return False
        for _ in range(_UNESCAPED_AT_MOST + 1):
            lower = text.lower()
            if any(needle in lower for needle in self._needles):
                return True
            if text.isascii() and not ("\\" in text or "%" in text or "&" in text):
                return False
            plain = _ESCAPES.sub(_unescaped, text)
            if plain == text:
                return False
            text = plain
        return False

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """A pattern of all needles, the longest first, with any characters escaped in any way."""
        forms = []
        for secret in self._secrets:
            forms += [_escapable(needle) for needle in _plain_needles(secret)]
            forms += [
                _BASE64.format(_escapable(needle)) for needle in _base64_needles(secret.encode())
            ]
        return re.compile("|".join(sorted(forms, key=len, reverse=True)), re.IGNORECASE)


def _needles(secret: str) -> list[str]:
    return [*_plain_needles(secret), *_base64_needles(secret.encode())]


def _plain_needles(secret: str) -> list[str]:
    """The secret as text, in a URL, as UTF-8 read as Latin-1, and as hexadecimal digits."""
    encoded = secret.encode()
    return list(
        dict.fromkeys(
            [
                secret,
                quote(secret, safe=""),
                quote_plus(secret),
                secret.replace(" ", "+"),
                encoded.decode("latin-1"),
                encoded.hex(),
            ]
        )
    )


def _base64_needles(secret: bytes) -> list[str]:
    """The part of the secret's base64 that is fixed, for each place where it can begin."""
    found: dict[str, None] = {}
    for offset in range(3):
        padded = b"\0" * offset + secret
        first, last = -(-offset * 8 // 6), len(padded) * 8 // 6
        for encoder in (base64.b64encode, base64.urlsafe_b64encode):
            found[encoder(padded).decode()[first:last]] = None
    return list(found)


def _unescaped(match: re.Match[str]) -> str:
    escape = match[0]
    if match[1]:
        return str(match[1])
    if escape[0] == "%":
        return unquote(escape, errors="replace")
    if escape[0] == "&":
        return html.unescape(escape)
    if escape[0] != "\\":
        return _as_utf8(escape.encode("latin-1"))
    codes = re.findall(r"[ux]([0-9a-fA-F]{2,4})", escape)
    if "u" in escape:
        return b"".join(bytes.fromhex(code) for code in codes).decode("utf-16-be", "replace")
    return _as_utf8(bytes.fromhex("".join(codes)))


def _as_utf8(octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def _escapable(needle: str) -> str:
    return "".join(map(_any_form, needle))


def _any_form(char: str) -> str:
    """A pattern for a character as it is, and as JSON, Python, URLs and HTML escape it."""
    units = char.encode("utf-16-be").hex()
    as_json = "".join(rf"\\+u{units[start : start + 4]}" for start in range(0, len(units), 4))
    # A percent sign may itself be quoted, as %25.
    as_url = "".join(f"%(?:25)*{byte:02x}" for byte in char.encode("utf-8", "surrogatepass"))
    code = ord(char)
    as_bytes = "".join(rf"\\+x{byte:02x}" for byte in char.encode("utf-8", "surrogatepass"))
    forms = [re.escape(char), as_json, as_url, as_bytes, f"&#0*{code};", f"&#x0*{code:x};"]
    if code < 256:
        forms.append(rf"\\+x{code:02x}")
    if not char.isalnum():
        forms.append(rf"\\+{re.escape(char)}")
        named = html.escape(char)
        forms += [re.escape(named)] if named != char else []
    return f"(?:{'|'.join(forms)})"


_ACTIVE: Final[WeakSet[Secrets]] = WeakSet()


class _MaskingFilter(logging.Filter):
    """Masks all clients' secrets in a logger's records."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask the record, and let it pass."""
        secrets = list(_ACTIVE)
        message = record.getMessage()
        trace = record.exc_text
        if record.exc_info and not trace:
            trace = logging.Formatter().formatException(record.exc_info)
        for secret in secrets:
            message = secret.masked(message)
            trace = trace and secret.masked(trace)
        record.msg, record.args = message, ()
        record.exc_text, record.exc_info = trace, None
        return True


#: The HTTP library's loggers, which print a server's texts as they are.
_TALKATIVE: Final = (
    "urllib3.connection",
    "urllib3.connectionpool",
    "urllib3.poolmanager",
    "urllib3.response",
    "urllib3.util.retry",
)
for _name in _TALKATIVE:
    logging.getLogger(_name).addFilter(_MaskingFilter())
