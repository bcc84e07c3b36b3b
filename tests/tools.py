"""Programs that tests need beside Python: skipped on a desk without them, missed in CI."""

import os
import shutil
import sys
from pathlib import Path

import pytest


def needs(tool):
    """A mark that skips a test if a program is missing; in CI the test runs, and fails."""
    found = shutil.which(tool) or shutil.which(tool, path=str(Path(sys.executable).parent))
    wanted = os.environ.get("CI") == "true"
    return pytest.mark.skipif(not (found or wanted), reason=f"{tool} is not installed")
