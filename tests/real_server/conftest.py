"""Keeps these tests out of the normal run: they install and start a real server.

IMPORTSTATS_REAL_SERVER=1 pytest tests/real_server
"""

import os

collect_ignore_glob = [] if os.environ.get("IMPORTSTATS_REAL_SERVER") == "1" else ["*.py"]
