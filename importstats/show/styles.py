"""Styles: the colours that phases and severities have in the terminal."""

from typing import Final

PHASE_STYLES: Final = {"Completed": "green", "Failed": "red", "Uncommitted": "yellow"}
SEVERITY_STYLES: Final = {"info": "", "warning": "yellow", "critical": "red"}
