"""A pipeline that stops itself: python stopped_pipeline.py SOURCE OUT SIGNAL FRAMES BUNDLE..."""

import os
import signal
import sys
from pathlib import Path

import torch

from hitfinder import logs
from hitfinder.study import run as study_run


def main() -> None:
    source, out, name, frames, *bundles = sys.argv[1:]
    judge = study_run._judged

    def judge_or_stop(source, pipeline, buffer, start):
        if start >= int(frames):
            os.kill(os.getpid(), getattr(signal, name))
        return judge(source, pipeline, buffer, start)

    study_run._judged = judge_or_stop
    # Shells start what runs in the background with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)
    logs.configure()
    study_run.run_pipeline([source], bundles, Path(out), device="cpu", batch_size=4)


if __name__ == "__main__":
    main()
