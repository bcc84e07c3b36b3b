"""The command line in a world that shakes: ``python shaken.py FOLDER collect ...``.

While there is a file FOLDER/no-dns, no host name resolves. FOLDER/clock holds the seconds by which
the clock that stamps snapshots is wrong.
"""

import socket
import sys
from datetime import datetime, timedelta
from pathlib import Path

import importstats.sources.rest
from importstats.cli import main


def shake(folder):
    """Put the command line of this process into such a world."""
    resolve = socket.getaddrinfo

    def shaken_getaddrinfo(*arguments, **options):
        if (folder / "no-dns").exists():
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(*arguments, **options)

    class ShakenClock(datetime):
        @classmethod
        def now(cls, tz=None):
            clock = folder / "clock"
            wrong_s = float(clock.read_text()) if clock.exists() else 0.0
            return datetime.now(tz) + timedelta(seconds=wrong_s)

    socket.getaddrinfo = shaken_getaddrinfo
    importstats.sources.rest.datetime = ShakenClock


if __name__ == "__main__":
    shake(Path(sys.argv.pop(1)))
    main()
