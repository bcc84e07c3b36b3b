"""Commands as processes of their own, each a copy of one that has imported everything already.

To start Python and to import the package takes seconds of a busy machine. What a test wants of a
subprocess is its arguments, environment, folder, whole output and exit code, and a copy has them.
"""

import atexit
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

#: Imports the package, and what a copy of the process needs; `main` runs a command.
IMPORTED = """
import json, os, pkgutil, sys, time
from importlib import import_module
import importstats
for module in pkgutil.walk_packages(importstats.__path__, "importstats."):
    if not module.name.endswith(("__main__", ".grpc")):
        import_module(module.name)
from importstats.cli import main
"""
_SERVER = (
    IMPORTED
    + """
for line in sys.stdin:
    asked = json.loads(line)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.chdir(asked["cwd"])
            os.environ.clear()
            os.environ.update(asked["environment"])
            time.tzset()
            for number, path in enumerate(asked["files"]):
                os.dup2(os.open(path, (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)[number]), number)
            sys.argv = ["importstats", *asked["arguments"]]
            main()
        except SystemExit as ended:
            code = ended.code or 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
)
_running: list[subprocess.Popen] = []


def run(*arguments, cwd=None, stdin="", **environment):
    """Run ``importstats`` with these arguments; what :func:`subprocess.run` returns, as text."""
    if not _running:
        _running.append(
            subprocess.Popen(
                [sys.executable, "-c", _SERVER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        atexit.register(_end)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("stdin", "stdout", "stderr")]
        for path, text in zip(files, (stdin, "", ""), strict=True):
            path.write_text(text)
        asked = {
            "arguments": list(map(str, arguments)),
            "cwd": str(cwd or Path.cwd()),
            "environment": {**os.environ, "COLUMNS": "120", **environment},
            "files": list(map(str, files)),
        }
        server = _running[0]
        print(json.dumps(asked), file=server.stdin, flush=True)
        code = int(server.stdout.readline())
        return subprocess.CompletedProcess(
            asked["arguments"], code, files[1].read_text(), files[2].read_text()
        )


def _end():
    server = _running.pop()
    server.stdin.close()
    server.wait(20)
    server.stdout.close()
