import subprocess
import sys
from pathlib import Path


def test_interrupts_stop_jobs_once_and_no_process_complains(tmp_path):
    script = Path(__file__).with_name("interrupted_pool.py")
    command = [sys.executable, str(script), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["first held True", "began0 began1 cleaned0 cleaned1"]
