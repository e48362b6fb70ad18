"""What no file of the repository may say: a package registry's host, or a path of the machine it was written on.

The words are put together here from halves, so that this file does not say them either.
"""

import re

HOSTS = tuple(
    ".".join(halves)
    for halves in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("registry.npmjs", "org"),
        ("deb.debian", "org"),
        ("security.debian", "org"),
        ("proxy.golang", "org"),
        ("static.crates", "io"),
        ("index.crates", "io"),
    )
)
FOLDERS = tuple(f"/{name}/" for name in ("wo" + "rk", "ro" + "ot"))
FORBIDDEN = re.compile("|".join([*map(re.escape, HOSTS), *(rf"(?<![\w.*}}-]){folder}" for folder in FOLDERS)]))


def told(text: str) -> list[str]:
    """Find lines that name a registry's host or a path of this machine."""
    return [
        f"line {number}: names {match.group(0)}"
        for number, line in enumerate(text.splitlines(), start=1)
        for match in FORBIDDEN.finditer(line)
    ]


def unhashed(requirements: str) -> list[str]:
    """Find requirements that are not pinned to one version with a hash."""
    joined = requirements.replace("\\\n", " ").splitlines()
    lines = [line.strip() for line in joined if line.strip() and not line.strip().startswith("#")]
    return [line.split()[0] for line in lines if "--hash=" not in line or "==" not in line.split("--hash=")[0]]
