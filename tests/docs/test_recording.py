"""The recording of the live view: made by a command, small, and complete in itself."""

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

IMAGES = Path(__file__).parents[2] / "docs" / "images"
SVG = "{http://www.w3.org/2000/svg}"


def frames(path):
    groups = ElementTree.parse(path).getroot().iter(f"{SVG}g")
    return [
        "".join(text.text for text in group.iter(f"{SVG}text"))
        for group in groups
        if group.get("class") == "f"
    ]


def test_the_recording_runs_from_the_start_of_a_job_to_its_end():
    path = IMAGES / "live.svg"
    text = path.read_text(encoding="utf-8")
    assert path.stat().st_size < 500_000
    assert re.findall(r"https?://[^\"\s<]+", text) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"<script|@import|url\(", text)
    shown = frames(path)
    assert len(shown) >= 20
    assert "PreImporting" in shown[0]
    assert " left (" in shown[len(shown) // 2]
    assert "Completed at" in shown[-1]


def test_the_command_makes_it(tmp_path):
    made = tmp_path / "live.svg"
    command = [sys.executable, IMAGES / "recording.py", "--frames", "2", "--output", made]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    first, last = frames(made)
    assert "importstats watch" in first
    assert "Completed at" in last
