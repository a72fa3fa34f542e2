"""What is said of a series that has ended."""

from hitfinder.io.ledger import FrameLedger
from hitfinder.io.simplon.intake import END, NO_END
from hitfinder.job.live.remarks import remarks


def test_of_a_series_without_a_fault_nothing_is_said():
    ledger = FrameLedger(8, received=8, processed=8, written=8).told()
    assert list(remarks(ledger, END, {"headers": 1, "images": 8, "ends": 1, "stale": 0})) == []


def test_frames_that_did_not_come_and_messages_that_were_not_used_are_told():
    ledger = FrameLedger(300, received=60, processed=55, passed_over=5, written=55).told()
    assert list(remarks(ledger, NO_END, {"images": 60, "stale": 40, "malformed": 2})) == [
        "240 of 300 frames did not come (no end came, the next series began)",
        "5 of 60 frames that came were not processed: they were passed over for newer ones, or"
        " waited when the run ended",
        "40 messages of a series that was over (as when two are sent at once) were not used",
        "2 messages that are none of a detector were not used",
    ]
