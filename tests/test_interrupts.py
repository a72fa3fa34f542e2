"""Ctrl-C and SIGTERM around what must not be cut short."""

import signal
import threading

import pytest

from hitfinder.interrupts import deferred, terminate_as_interrupt


@pytest.fixture(autouse=True)
def pythons_own_handler():
    """Other tests, and what started them, may have left another."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_end_waits_until_the_block_is_done(number):
    done = []

    def work():
        with deferred():
            signal.raise_signal(number)
            signal.raise_signal(number)
            done.append("whole")
        done.append("more")

    with terminate_as_interrupt():
        with pytest.raises(KeyboardInterrupt):
            work()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert done == ["whole"]


def test_an_error_goes_before_a_request_and_the_handlers_come_back():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(OSError, match="full"), deferred():
        raise OSError("full")
    assert signal.getsignal(signal.SIGINT) == before
    with deferred():
        pass
    assert signal.getsignal(signal.SIGINT) == before


def test_in_another_thread_it_does_nothing():
    told = []

    def run():
        with deferred():
            told.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert told == [before]
