"""What is in the wheel and in the sdist, and whether both say the same.

    python tests/support/distributions.py FOLDER

FOLDER has the sdist and the wheel that was built from the source tree; the wheel of the sdist is
built here.  Exits 1, with what is wrong, where a file is missing, is too much, or differs.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Mapping
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGES = ("billing_core", "adapters/billing_adapters")
# Beside the packages. `pip` needs no more, and a reader has the pages at hand.
AT_THE_TOP = {
    "CHANGELOG.md", "CONTRIBUTING.md", "DESIGN.md", "LICENSE", "PKG-INFO", "README.md",
    "SECURITY.md", "pyproject.toml",
}  # fmt: skip
READ = ("docs", "examples")
MOST = 1_500_000  # bytes of a wheel or an sdist: what is larger has something in it by mistake
# What the table of the wheel lists and hashes.
OF_THE_WHEEL = ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")


def in_packages() -> dict[str, bytes]:
    """What the tree has in its packages, by the place that it has in a wheel."""
    found: dict[str, bytes] = {}
    for package in PACKAGES:
        folder = ROOT / package
        for path in folder.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                found[path.relative_to(folder.parent).as_posix()] = path.read_bytes()
    return found


def of_wheel(path: Path) -> dict[str, bytes]:
    with ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def of_sdist(path: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(path) as file:
        for member in file.getmembers():
            top, _, name = member.name.partition("/")
            assert top == f"billing_core-{PROJECT['version']}", member.name
            content = file.extractfile(member)
            assert content is not None, f"{member.name} is no file"
            found[name] = content.read()
    return found


def different(what: str, found: Mapping[str, bytes], expected: Mapping[str, bytes]) -> list[str]:
    return [
        *(f"{what} lacks {name}" for name in sorted(expected.keys() - found.keys())),
        *(f"{what} has {name}" for name in sorted(found.keys() - expected.keys())),
        *(
            f"{what} has another {name}"
            for name in sorted(found.keys() & expected.keys())
            if found[name] != expected[name]
        ),
    ]


def wrong_in_wheel(found: Mapping[str, bytes]) -> list[str]:
    beside = f"billing_core-{PROJECT['version']}.dist-info/"
    packed = {name: text for name, text in found.items() if not name.startswith(beside)}
    wrong = different("the wheel", packed, in_packages())
    extra = {f"{beside}{name}": found.get(f"{beside}{name}", b"") for name in OF_THE_WHEEL}
    about = {name: text for name, text in found.items() if name.startswith(beside)}
    wrong += different("the wheel", about, extra)
    if extra[f"{beside}licenses/LICENSE"] != (ROOT / "LICENSE").read_bytes():
        wrong.append("the wheel's LICENSE is another")
    said = Parser().parsestr(extra[f"{beside}METADATA"].decode())
    for field, expected in (
        ("Name", PROJECT["name"]),
        ("Version", PROJECT["version"]),
        ("License-Expression", PROJECT["license"]),
        ("Requires-Python", PROJECT["requires-python"]),
    ):
        if said[field] != expected:
            wrong.append(f"the wheel says {field}: {said[field]}, not {expected}")
    if said.get_payload() != (ROOT / "README.md").read_text(encoding="utf-8"):
        wrong.append("the wheel's description is not the README")
    return wrong


def wrong_in_sdist(found: Mapping[str, bytes]) -> list[str]:
    expected = {f"adapters/{name}" if name.startswith("billing_adapters") else name: content
                for name, content in in_packages().items()}  # fmt: skip
    for folder in READ:
        listed = subprocess.run(
            ["git", "ls-files", "-z", folder], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        for name in filter(None, listed.split("\0")):
            expected[name] = (ROOT / name).read_bytes()
    for name in AT_THE_TOP - {"PKG-INFO"}:
        expected[name] = (ROOT / name).read_bytes()
    expected["PKG-INFO"] = found.get("PKG-INFO", b"nothing")
    expected[".gitignore"] = (ROOT / ".gitignore").read_bytes()  # hatchling's, for the next build
    return different("the sdist", found, expected)


def main(folder: Path) -> int:
    [wheel], [sdist] = folder.glob("*.whl"), folder.glob("*.tar.gz")
    wrong = wrong_in_wheel(of_wheel(wheel)) + wrong_in_sdist(of_sdist(sdist))
    with tempfile.TemporaryDirectory() as place:
        with tarfile.open(sdist) as file:
            file.extractall(place, filter="data")
        [tree] = Path(place).iterdir()
        built = Path(place) / "built"
        command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(built), str(tree)]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        [again] = built.iterdir()
        wrong += different("the wheel of the sdist", of_wheel(again), of_wheel(wheel))
    for path in (wheel, sdist):
        size = path.stat().st_size
        print(f"{path.name}: {size:,} bytes")
        if size > MOST:
            wrong.append(f"{path.name} has {size:,} bytes, more than {MOST:,}")
    print("\n".join(wrong) if wrong else "What should be in them is, and nothing else.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
