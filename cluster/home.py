"""The home of one instance: what must be the same at the next start, and must not be read by anybody else.

    home/  (0700)           instance.json   id of the instance, made once
                            secrets.json    password of PostgreSQL, password and API key of the first administrator
                            ray.token       the token that every Ray server of this instance asks for
                            ports.json      the ports, as picked
                            admin.json      base_url, workspace_id, email, password, api_key: what a client needs
                            keeper.json     what runs just now (keeper.lock: held while a keeper lives)
                            driver.json     what the driver reports
                            logs/           keeper.log, ray.log, driver.log, each with one predecessor
                            postgres/       the embedded server's data
                            blobs/          large data, where they are kept as files
                            ray/            Ray's session files and sockets, unless the path would be too long
                            work/           the empty folder in which Ray's processes start

Files are written aside and renamed, so that a reader sees the old or the new one. A secret that others may read is
refused, not repaired: it may have been read already.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cluster.ports import Ports
from workflow.errors import Conflict, Unavailable

# A Unix socket's path has at most 107 bytes. The longest below Ray's folder is the one that HAProxy makes on its way to
# `haproxy_dir`/<56 digits of the node id>/a: "/h/" + 56 + "/a.<pid>.tmp"; Ray's own need 64.
RAY_DIR_BYTES_MAX = 107 - len("/h/") - 56 - len("/a.4194304.tmp")
ADMIN_EMAIL = "admin@rayloom.local"
API_KEY_PREFIX = "rl_"


class UnsafeHome(Unavailable):
    """Others may read or change the home or a secret in it."""

    default_code = "unsafe_home"


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """What is generated once. `api_key` and `password` are the first administrator's."""

    postgres_password: str
    email: str
    password: str
    api_key: str
    link_key: str
    """Signs the links by which requests are answered without a login (hex)."""


class Home:
    """The folder of one instance. `open` makes what is missing; making it twice changes nothing."""

    def __init__(self, root: Path, *, instance: str, ray_dir: Path) -> None:
        self.root = root
        self.instance = instance
        self.ray_dir = ray_dir

    @property
    def logs(self) -> Path:
        """The folder of the logs."""
        return self.root / "logs"

    @property
    def postgres(self) -> Path:
        """The folder of the embedded database."""
        return self.root / "postgres"

    @property
    def blobs(self) -> Path:
        """The folder of large data, where they are kept as files."""
        return self.root / "blobs"

    @property
    def work(self) -> Path:
        """The empty folder in which Ray's processes start: Ray puts a driver's folder first on the import path of its
        workers.
        """
        return self.root / "work"

    @property
    def haproxy_dir(self) -> Path:
        """The folder of HAProxy's configuration and sockets: short, like Ray's."""
        return self.ray_dir / "h"

    @property
    def token_file(self) -> Path:
        """The file that holds Ray's token."""
        return self.root / "ray.token"

    @property
    def admin_file(self) -> Path:
        """The file that tells a client where the API is and who may use it."""
        return self.root / "admin.json"

    @property
    def keeper_file(self) -> Path:
        """The keeper's record of what runs."""
        return self.root / "keeper.json"

    @property
    def driver_file(self) -> Path:
        """The driver's report of itself."""
        return self.root / "driver.json"

    def log(self, name: str) -> Path:
        """Return the path of a log."""
        return self.logs / f"{name}.log"

    def secrets(self) -> Secrets:
        """Return the generated secrets. Raises `UnsafeHome` when others may read them."""
        return Secrets(**read_secret(self.root / "secrets.json"))

    def remembered_ports(self) -> dict[str, int]:
        """Return the ports of the last start, or none."""
        return read_json(self.root / "ports.json")

    def remember_ports(self, ports: Ports) -> None:
        """Keep the ports for the next start."""
        write_json(self.root / "ports.json", ports.as_json())

    def admin(self) -> dict[str, str]:
        """Return what a client needs. Raises `UnsafeHome`, or `Unavailable` when there has been no first start."""
        if not self.admin_file.exists():
            raise Unavailable(f"there is no {self.admin_file}; `rayloom up` makes it", "not_up")
        return read_secret(self.admin_file)

    @contextlib.contextmanager
    def keeping(self) -> Iterator[None]:
        """Hold the lock that makes this process the only keeper of this home. Raises `Conflict` when there is one."""
        descriptor = os.open(self.root / "keeper.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict(f"another keeper looks after {self.root}", "already_kept") from None
            yield
        finally:
            os.close(descriptor)

    def is_kept(self) -> bool:
        """Whether a keeper lives."""
        try:
            with self.keeping():
                return False
        except Conflict:
            return True


def open_home(root: Path, token: Callable[[int], str], *, temporary: Path | None = None) -> Home:
    """Return the home, made if it is not there. `token(bytes)` is the source of chance: `secrets.token_hex`.

    Raises `UnsafeHome` when the folder or a secret in it belongs to, or is open for, somebody else.
    """
    try:
        _private_folder(root)
        for name in ("logs", "work", "postgres"):
            _private_folder(root / name)
        instance = read_json(root / "instance.json").get("id")
        if instance is None:
            instance = token(6)
            write_json(root / "instance.json", {"id": instance})
        ray_dir = _ray_dir(root, temporary or Path(tempfile.gettempdir()))
        # Ray opens its own folder for everybody, and HAProxy's control socket lies in it: so the one above must be
        # closed.
        _private_folder(ray_dir.parent)
        ray_dir.mkdir(mode=0o700, exist_ok=True)
        home = Home(root, instance=instance, ray_dir=ray_dir)
        _make_secrets(home, token)
    except OSError as error:
        raise Unavailable(f"the home {root} cannot be used: {error}", "home_unusable") from error
    return home


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file of ours, or an empty one when there is none. Raises `Unavailable` when it is
    damaged.
    """
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError:
        raise Unavailable(f"{path} is damaged; remove it, it is made again", "home_damaged") from None
    if not isinstance(found, dict):
        raise Unavailable(f"{path} is damaged; remove it, it is made again", "home_damaged")
    return found


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # made 0600
    try:
        with open(descriptor, "w") as file:
            file.write(text)
        Path(draft).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(draft).unlink()
        raise


def read_secret(path: Path) -> dict[str, Any]:
    """Return the object in a file that only we may read. Raises `UnsafeHome` when others may."""
    require_private(path)
    return read_json(path)


def require_private(path: Path) -> None:
    """Raise `UnsafeHome` unless the file or folder is ours and closed to everybody else."""
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise UnsafeHome(f"{path} is a link; put the file itself there", fields={"path": str(path)})
    if found.st_uid != os.geteuid():
        raise UnsafeHome(f"{path} belongs to user {found.st_uid}, not to you", fields={"path": str(path)})
    if mode := stat.S_IMODE(found.st_mode) & 0o077:
        fix = "700" if stat.S_ISDIR(found.st_mode) else "600"
        raise UnsafeHome(
            f"{path} is open to other users (mode bits {mode:03o}); if nobody can have read it: chmod {fix} {path}",
            fields={"path": str(path)},
        )


def _private_folder(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    require_private(path)


def _ray_dir(root: Path, temporary: Path) -> Path:
    inside = root / "ray"
    if len(os.fsencode(inside)) <= RAY_DIR_BYTES_MAX:
        return inside
    # In a shared folder the name is guessable, so one that somebody else has made before us is refused.
    return temporary / f"rayloom-{os.geteuid()}-{hashlib.sha256(os.fsencode(root)).hexdigest()[:8]}" / "r"


def _make_secrets(home: Home, token: Callable[[int], str]) -> None:
    path = home.root / "secrets.json"
    made = Secrets(
        postgres_password=token(24),
        email=ADMIN_EMAIL,
        password=token(16),
        api_key=API_KEY_PREFIX + token(32),
        link_key=token(32),
    )
    known = read_secret(path) if path.exists() else {}
    if set(known) != set(asdict(made)):
        write_json(path, {**asdict(made), **known})
    if home.token_file.exists():
        require_private(home.token_file)
    else:
        write_text(home.token_file, token(32))
