"""A real Milvus 2.3 server on this machine, for as long as it is needed.

    python tests/real_server/serve.py [DIR]

starts one below DIR (default: a temporary directory, removed at the end), prints its address and
stops it on Ctrl-C.

The PyPI package ``milvus`` carries the server's binary for Linux on x86-64 and needs no other
package. It is installed once, with the unpacked binary, below ``IMPORTSTATS_REAL_SERVER_CACHE``
(default: a directory in the system's place for temporary files): 15 s, 360 MB on disk. Every start
after that takes 5 to 15 s. One server at a time: the ports of its embedded etcd are fixed. All its
other ports are free ones: the launcher chooses that of the management port, and those of the
services are chosen here.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from pathlib import Path

from importstats.errors import ImportStatsError
from importstats.sources.grpc import GrpcImportClient

MILVUS = "milvus==2.3.5"
#: The server's built-in account. Its ports are open on every interface, so it asks for a password,
#: except on its management port.
TOKEN = "root:Milvus"
START_S = 180
STOP_S = 30
_ETCD_PORTS = (2379, 2380)
_CHOSEN_PORTS = (
    "proxy",
    "proxy-internal",
    "root-coord",
    "query-coord",
    "query-node",
    "index-coord",
    "index-node",
    "data-coord",
    "data-node",
)
_COMPONENTS = (
    "rootCoord",
    "proxy",
    "queryCoord",
    "queryNode",
    "indexNode",
    "dataCoord",
    "dataNode",
)


class RealServer:
    """A running server.

    Attributes
    ----------
    uri : str
        Where it serves gRPC.
    directory : Path
        Where it works. Paths of import files are relative to it, and the files must lie below
        its ``data``, which is the local storage.
    """

    def __init__(self, directory: Path, process: subprocess.Popen[bytes]) -> None:
        self.directory = directory
        self.process = process
        self.uri = ""

    def wait_until_it_serves(self) -> None:
        deadline = time.monotonic() + START_S
        problem: Exception | str = "no answer yet"
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended while starting:\n{self.log()}")
            if port := self._port():
                self.uri = f"http://127.0.0.1:{port}"
                try:
                    with GrpcImportClient(self.uri, token=TOKEN, timeout=5, retries=0) as client:
                        list(client.list_jobs())
                except ImportStatsError as error:
                    problem = error
                else:
                    return
            time.sleep(0.2)
        raise RuntimeError(f"no service after {START_S} s ({problem}):\n{self.log()}")

    def _port(self) -> str | None:
        """The proxy's port, from the configuration that the launcher writes before it starts."""
        config = self.directory / "configs" / "milvus.yaml"
        if not config.exists():
            return None
        found = re.search(r"^proxy:.*?^  port: (\d+)", config.read_text(), re.DOTALL | re.MULTILINE)
        return found[1] if found else None

    def management_uri(self) -> str:
        """Where it serves metrics, by its log: the launcher takes the first port free from 9091."""
        log = (self.directory / "logs" / "milvus-stdout.log").read_text(errors="replace")
        found = re.search(r'"management listen"\] \[addr=:(\d+)\]', log)
        if found is None:
            raise RuntimeError(f"the log names no management port:\n{self.log()}")
        return f"http://127.0.0.1:{found[1]}"

    def log(self) -> str:
        """The end of what the launcher and the server printed."""
        files = [self.directory / "launcher.log", *self.directory.glob("logs/milvus-std*.log")]
        return "\n".join(file.read_text(errors="replace")[-2000:] for file in files)

    def stop(self) -> None:
        """Ask the launcher to stop the server, which it does within a second or two."""
        if self.process.returncode is not None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_S)
        # The launcher leads a process group of its own: nothing of it may outlive the test.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def real_server(directory: Path) -> Iterator[RealServer]:
    """A server that works below ``directory`` (empty or new); it has ended when the block ends."""
    _check_that_no_other_runs()
    home = _installation()
    directory.mkdir(parents=True, exist_ok=True)
    # The launcher unpacks the binary, 350 MB, below its directory unless it is there already.
    (home / "unpacked").mkdir(exist_ok=True)
    (directory / "bin").symlink_to(home / "unpacked", target_is_directory=True)
    command = [
        str(home / "bin" / "milvus-server"),
        *("--data", str(directory), "--authorization-enabled", "true"),
    ]
    for name, port in zip(_CHOSEN_PORTS, _free_ports(len(_CHOSEN_PORTS)), strict=True):
        command += [f"--{name}-port", str(port)]
    for component in _COMPONENTS:
        command += ["--extra-config", f"{component}.ip=127.0.0.1"]
    with (directory / "launcher.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    server = RealServer(directory, process)
    try:
        server.wait_until_it_serves()
        yield server
    finally:
        server.stop()


def _free_ports(count: int) -> list[int]:
    """Ports that are free on every interface, where the server listens too."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("", 0))
        return [each.getsockname()[1] for each in sockets]


def _check_that_no_other_runs() -> None:
    for port in _ETCD_PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise RuntimeError(
                    f"port {port} of the embedded etcd is taken ({error.strerror}); "
                    "only one server can run at a time"
                ) from error


def _installation() -> Path:
    """A virtual environment that holds the server, made at the first call."""
    cache = os.environ.get("IMPORTSTATS_REAL_SERVER_CACHE")
    home = Path(cache or Path(tempfile.gettempdir()) / "importstats-real-server").resolve()
    complete = home / "complete"
    if not complete.exists() or complete.read_text() != MILVUS:
        venv.create(home, with_pip=True, clear=True)
        pip = [home / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps", MILVUS]
        subprocess.run(pip, check=True)
        complete.write_text(MILVUS)
    return home


def main() -> None:
    # Ctrl-C and a polite kill both end the block below, and with it the server.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with contextlib.ExitStack() as stack:
        if len(sys.argv) > 1:
            directory = Path(sys.argv[1])
        else:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(real_server(directory))
        print(
            f"{server.uri}, token {TOKEN}, files below {directory / 'data'}; Ctrl-C stops it",
            flush=True,
        )
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
