"""Which directories the server's Python imports rescore and scikit-learn from.

The server's PL/Python runs as another account and knows nothing of virtual environments or
editable installs. Where that account can read the environment, it is used in place; where it
cannot (a checkout below ``/root``, say), what the server needs is copied to ``home/python``.
"""

from __future__ import annotations

import compileall
import json
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

from rescore.errors import NoServer
from rescore.server.account import PACKAGE, Account, default_home, server_account
from rescore.server.lock import locked

# What rescore.plpython imports; what these require is found in their metadata.
NEEDED = ("numpy", "scipy", "scikit-learn", "joblib", "skops", "cryptography")
IN_SERVER = ("__init__.py", "errors.py", "plpython")


def python_path(account: Account | None = None, home: Path | None = None) -> list[str]:
    """Return directories for the server's ``sys.path``, readable by its account.

    Parameters
    ----------
    account: that runs the server; the private server's if not given.
    home: under which copies are made when the account cannot read the originals.

    Returns
    -------
    One directory that holds the package ``rescore`` and one that holds scikit-learn, or a
    single one that holds both.
    """
    account = account or server_account()
    home = home or default_home()
    libraries = Path(sysconfig.get_path("purelib"))
    if not _readable(account, [libraries / name for name in _top_levels()]):
        libraries = _copied(home, "libraries", _copy_libraries)
    package = _package_parent()
    if package is None or not _holds_package(account, package):
        package = _copied(home, "package", _copy_package)
    if not _holds_package(account, package):
        raise NoServer(f"the account {account.name} cannot read {package}")
    return list(dict.fromkeys([str(package), str(libraries)]))


def _copied(home: Path, name: str, copy: Callable[[Path], None]) -> Path:
    target = home / "python" / name
    with locked(home):
        copy(target)
    return target


def _holds_package(account: Account, folder: Path) -> bool:
    return _readable(account, [folder / "rescore" / name for name in IN_SERVER])


def _package_parent() -> Path | None:
    """A directory in which the package is called ``rescore``, whatever the checkout's name."""
    libraries = Path(sysconfig.get_path("purelib"))
    linked = Path(sysconfig.get_path("data")) / "src"
    same = (p for p in (libraries, linked) if (p / "rescore").resolve() == PACKAGE)
    return next(same, None)


def _readable(account: Account, paths: list[Path]) -> bool:
    """Whether the account can read every one of these files, and all below the directories."""
    looking: list[str | Path] = ["find", "-L", *paths, "!", "-readable", "-print", "-quit"]
    done = account.run(looking, cwd=Path("/"))
    return done.returncode == 0 and not done.stdout


def _distributions() -> dict[str, Distribution]:
    """The needed distributions and, transitively, what they require; by name."""
    found: dict[str, Distribution] = {}
    waiting = list(NEEDED)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue  # required on other platforms or Pythons only
        waiting += _requirements(found[name])
    return found


def _requirements(dist: Distribution) -> Iterator[str]:
    for line in dist.requires or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement.name


def _files(dist: Distribution) -> Iterator[str]:
    """The distribution's files, relative to site-packages, without commands and manuals."""
    return (str(f) for f in dist.files or [] if not str(f).startswith(("..", "/")))


def _top_levels() -> set[str]:
    tops = {f.split("/")[0] for d in _distributions().values() for f in _files(d)}
    return tops - {"__pycache__"}


def _copy_libraries(target: Path) -> None:
    """Copy third-party packages, unless the copies there are of the same versions.

    The whole is copied beside its place and then renamed: a copy cut short is never used.
    """
    wanted = {name: dist.version for name, dist in sorted(_distributions().items())}
    stamp = target / "versions.json"
    if stamp.exists() and json.loads(stamp.read_text()) == wanted:
        return
    unfinished = target.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    source = Path(sysconfig.get_path("purelib"))
    for name in sorted(_top_levels()):
        _copy(source / name, unfinished / name)
    (unfinished / stamp.name).write_text(json.dumps(wanted))
    _open_to_all(unfinished)
    shutil.rmtree(target, ignore_errors=True)
    unfinished.rename(target)


def _copy_package(target: Path) -> None:
    """Copy what the server runs of rescore; always, since a checkout changes without notice.

    Files are replaced one by one, so that a backend importing meanwhile finds each of them.
    """
    place = target / "rescore"
    for source in (PACKAGE / name for name in IN_SERVER):
        for file in sorted(source.rglob("*.py")) if source.is_dir() else [source]:
            copy = place / file.relative_to(PACKAGE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy.with_suffix(".new"))
            copy.with_suffix(".new").replace(copy)
    for copy in place.rglob("*.py"):
        if not (PACKAGE / copy.relative_to(place)).exists():
            copy.unlink()
    compileall.compile_dir(place, quiet=1)
    _open_to_all(target)


def _copy(source: Path, target: Path) -> None:
    """Copy with the times, by which Python tells that a compiled file is current."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)


def _open_to_all(folder: Path) -> None:
    """Readable by the server's account whatever the umask was; writable by the owner only."""
    for path in (folder.parent, folder):
        path.chmod(0o755)
    subprocess.run(["chmod", "-R", "u=rwX,go=rX", folder], check=True)
