"""A worker that is asked to end does so wherever the request reaches it."""

import signal
import time
import weakref

import pytest

from hitfinder.executors.worker import Stopped, _asked_again, _stoppable
from waiting import LONGEST_S


class Thing:
    pass


def test_a_request_that_a_finaliser_swallows_comes_again(capsys):
    swallowed, ended = [], []

    def callback(reference):
        signal.raise_signal(signal.SIGTERM)
        swallowed.append(False)  # pragma: no cover

    def work():
        thing = Thing()
        reference = weakref.ref(thing, callback)
        del thing
        swallowed.append(True)
        time.sleep(LONGEST_S)
        ended.append(False)  # pragma: no cover
        del reference

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped), _asked_again(), _stoppable():
        work()
    assert swallowed == [True]
    assert not ended, "nobody waited until it was done"
    assert signal.getsignal(signal.SIGTERM) == before
    assert "Traceback" not in capsys.readouterr().err
