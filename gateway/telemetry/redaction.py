"""What a log may never contain: secrets in texts, and the names of fields that hold them. Pure; never logs.

Masks rather than drops: a key's public id, a host, a field's name stay, so that the line remains useful. It would
rather mask a harmless word than let a secret through.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

MASK = "[redacted]"

_SECRET_WORDS = frozenset(
    {
        "authorization", "cookie", "credential", "credentials", "passphrase", "passwd", "password", "passwords",
        "secret", "secrets", "sig", "signature", "token", "tokens",
    }
)  # fmt: skip
_SECRET_PAIRS = frozenset(
    {
        ("access", "key"), ("admin", "key"), ("api", "key"), ("api", "keys"), ("derived", "key"), ("key", "digest"),
        ("key", "hash"), ("private", "key"), ("signing", "key"), ("upstream", "key"),
    }
)  # fmt: skip
_SECRET_RUNS = frozenset({"apikey", "accesskey", "digest", "secretkey", "privatekey", "xapikey"})
#: A field that names a secret without being one, such as ``api_key_id``.
_HARMLESS_ENDS = frozenset({"id", "ids", "name", "count", "type", "bytes", "s", "at"})
_PROMPT = re.compile(r"(?:.*_)?prompts?")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NOT_A_WORD = re.compile(r"[^a-z0-9]+")

# None of these begins with something that repeats: a caller who sends a long header must not keep a core busy.
_TORII_KEY = re.compile(r"torii_([0-9A-Za-z]{12})_[0-9A-Za-z]+")
_UPSTREAM_KEY = re.compile(r"(?<![0-9A-Za-z])(pdl?|whsec)_[0-9A-Za-z_+/=-]{6,}")
_SCHEME = re.compile(
    r"\b(Bearer|Basic)(?:\s+|%20|\+)(?!\[redacted\]|torii_[0-9A-Za-z]{12}_\[redacted\])[\w.~+/=-]{8,}", re.IGNORECASE
)
#: The header with any scheme, or with none: where the first word is no scheme we know, the second may be the secret.
_AUTHORIZATION = re.compile(
    r"(?P<head>authorization[\"']?\s*[:=]\s*[\"']?)"
    r"(?P<scheme>(?:basic|bearer|digest|key|token)\s+)?(?!(?:basic|bearer|digest|key|token)\b|\[redacted\]|torii_)"
    r"[^\s\"']+(?(scheme)|(?:[ ]+[^\s\"']+)?)",
    re.IGNORECASE,
)
_USERINFO = re.compile(r"(://[^\s/:@\"'<>]*):[^\s/\"'<>]*@")
_ASSIGNED = re.compile(
    r"(?P<name>cookie|api[_-]?keys?|access[_-]?key|private[_-]?key|secret[_-]?key|passw(?:or)?d|secret|token"
    r"|sig(?:nature)?|credential)(?P<sign>[\"']?\s*[=:]\s*)"
    r"(?P<value>\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|(?!\[redacted\]|torii_)[^\s\"',;&)}\]>]+)",
    re.IGNORECASE,
)
_PROMPT_ASSIGNED = re.compile(
    r"(?P<name>prompts?)(?P<sign>[\"']?\s*[=:]\s*)(?P<value>\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')", re.IGNORECASE
)


#: A text or a name without any of these, in any case, holds nothing that the expressions here would find. Nearly every
#: text of a log is of that kind, and looking for them takes a hundredth of the time.
_TELLS = re.compile("|".join(map(re.escape, (
    "authorization", "basic", "bearer", "cookie", "credential", "digest", "hash", "key", "passphrase", "passw", "pd_",
    "pdl_", "secret", "sig", "token", "torii_", "whsec_", "://",
))))  # fmt: skip
#: Names of fields are few and come again with each line; what is longer is no name.
_NAMES_KEPT = 1024
_NAME_CHARACTERS = 64


def redact(text: str, hidden: Sequence[str] = ()) -> str:
    """``text`` without Torii and upstream keys, bearer tokens, URLs' passwords, signatures and the ``hidden`` texts."""
    for secret in sorted((each for each in hidden if each and each in text), key=len, reverse=True):
        text = text.replace(secret, MASK)
    if not _tells(text):
        return text
    text = _TORII_KEY.sub(rf"torii_\1_{MASK}", text)
    text = _UPSTREAM_KEY.sub(rf"\1_{MASK}", text)
    text = _USERINFO.sub(rf"\1:{MASK}@", text)
    text = _SCHEME.sub(rf"\1 {MASK}", text)
    text = _AUTHORIZATION.sub(lambda found: f"{found['head']}{found['scheme'] or ''}{MASK}", text)
    return _ASSIGNED.sub(rf"\g<name>\g<sign>{MASK}", text)


def plain(text: str) -> bool:
    """Whether there is nothing in it that could be taken out but texts that were named to be hidden."""
    lower = text.lower()
    return "prompt" not in lower and _TELLS.search(lower) is None


def plain_name(name: str) -> bool:
    """As ``plain``, of a field's name, which comes again with each line."""
    return _known_plain(name) if len(name) <= _NAME_CHARACTERS else plain(name)


@lru_cache(_NAMES_KEPT)
def _known_plain(name: str) -> bool:
    return plain(name)


def without_prompts(text: str) -> str:
    """``text`` with the quoted values of anything called ``prompt`` masked, as they stand in JSON and in a ``repr``."""
    return _PROMPT_ASSIGNED.sub(rf"\g<name>\g<sign>{MASK}", text) if "prompt" in text.lower() else text


def is_secret(name: str) -> bool:
    """Whether a field of this name holds a secret, whatever its spelling: ``apiKey``, ``X-Api-Key``, ``old_token``."""
    return _known_secret(name) if len(name) <= _NAME_CHARACTERS else _secret(name)


def _secret(name: str) -> bool:
    words = _words(name) if _tells(name) else []
    if not words or words[-1] in _HARMLESS_ENDS:
        return False
    return (
        not _SECRET_WORDS.isdisjoint(words)
        or not _SECRET_PAIRS.isdisjoint(pairwise(words))
        or not _SECRET_RUNS.isdisjoint(words)
    )


@lru_cache(_NAMES_KEPT)
def _known_prompt(name: str) -> bool:
    return _prompt(name)


def is_prompt(name: str) -> bool:
    """Whether a field of this name holds a prompt."""
    return _known_prompt(name) if len(name) <= _NAME_CHARACTERS else _prompt(name)


def _prompt(name: str) -> bool:
    return "prompt" in name.lower() and _PROMPT.fullmatch("_".join(_words(name))) is not None


@lru_cache(_NAMES_KEPT)
def _known_secret(name: str) -> bool:
    return _secret(name)


def _tells(text: str) -> bool:
    return _TELLS.search(text.lower()) is not None


def _words(name: str) -> list[str]:
    return [word for word in _NOT_A_WORD.split(_CAMEL.sub("_", name).lower()) if word]
