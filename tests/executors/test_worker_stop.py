"""A worker that is asked to end does so wherever the request reaches it."""

import signal
import time
import weakref

import pytest

from hitfinder.executors.worker import Stopped, _asked_again, _stoppable


class Thing:
    pass


def test_a_request_that_a_finaliser_swallows_comes_again(capsys):
    swallowed = []

    def callback(reference):
        signal.raise_signal(signal.SIGTERM)
        swallowed.append(False)  # pragma: no cover

    def work():
        thing = Thing()
        reference = weakref.ref(thing, callback)
        del thing
        swallowed.append(True)
        time.sleep(10)
        del reference

    before = signal.getsignal(signal.SIGTERM)
    began = time.monotonic()
    with pytest.raises(Stopped), _asked_again(), _stoppable():
        work()
    assert swallowed == [True]
    assert time.monotonic() - began < 5
    assert signal.getsignal(signal.SIGTERM) == before
    assert "Traceback" not in capsys.readouterr().err
