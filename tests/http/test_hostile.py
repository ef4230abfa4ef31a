"""The campaign of `make bench-hostile`, in small."""

import subprocess
import sys
from pathlib import Path

CASES = 1000


def test_nothing_hostile_is_a_failure_of_ours() -> None:
    """A thousand hostile requests over every route meet no 5xx, no hang, and no answer or log line that quotes them."""
    process = subprocess.run(
        [sys.executable, "-m", "bench.hostile", "--cases", str(CASES), "--seed", "1000"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert "no 5xx, no hang, no value told" in process.stdout
