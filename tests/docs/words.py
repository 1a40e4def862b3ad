"""Words of earlier versions and phrases that our English does not use: `make lint` runs this.

docs/glossary.md has the project's own words; CONTRIBUTING.md has the rules.
"""

import re
import subprocess
import sys

from tests.support.processes import ROOT

# Written with brackets, so that this file does not contain them.
REPLACED = {
    r"m[o]ments?": "occurrence, time",
    r"s[c]enes?": "snapshot",
    r"m[a]chinery": "context",
    r"c[e]nsus": "node count",
    r"c[h]ronicle": "history",
    r"s[t]anding": "status",
    r"w[h]oever": "name who",
    r"l[e]st": "so that … not",
    r"g[u]ardrails?": "limit",
    r"d[o]orbell": "sweep request",
    r"s[t]rangers?": "foreign",
    r"s[e]ttlement": "reconciliation",
    r"s[e]t aside": "dead letter",
    r"g[o]es on with": "continue, resume",
    r"s[o] many": "a number",
    r"w[h]at is wrong with": "problems of",
    r"i[s] no (?:TOML|UTF-8|URL|key|span|time zone|date|text)": "is not a, unknown",
}
PATTERN = re.compile("|".join(rf"\b(?:{word})\b" for word in REPLACED), re.IGNORECASE)
# Names of fields and values that earlier versions wrote.
EXCEPT = ("CHANGELOG.md", "tasks/ledger/migrations.py", "tests/data/")


def main() -> int:
    """Print every use of a replaced word. Returns 1 if there is one."""
    files = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    found = 0
    for name in files:
        path = ROOT / name
        if name.startswith(EXCEPT) or path.suffix in (".lock", ".png", ".svg") or not path.is_file():
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            for match in PATTERN.finditer(line):
                word = next(word for word in REPLACED if re.fullmatch(word, match[0], re.IGNORECASE))
                print(f"{name}:{number}: {match[0]!r}: write {REPLACED[word]}")
                found += 1
    return min(found, 1)


if __name__ == "__main__":
    sys.exit(main())
