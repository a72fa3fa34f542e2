import numpy as np
import pytest

from hitfinder.errors import ConfigError
from hitfinder.io.frame_choice import choice_text, choose_frames, chosen_numbers, slices_of
from hitfinder.io.open import open_source


@pytest.mark.parametrize(
    "text",
    [
        "0:20:3",
        "4",
        "-1",
        "-2",
        ":",
        "::7",
        "-5:",
        ":-15",
        "18:500",
        "3,1,3",
        " 2 , 5:7",
        "-3:-1,0",
    ],
)
def test_frames_are_those_that_python_takes(text):
    frames = list(range(20))
    taken = set()
    for item in text.split(","):
        found = eval(f"frames[{item}]", {"frames": frames})
        taken |= {found} if isinstance(found, int) else set(found)
    assert chosen_numbers(20, text, None).tolist() == sorted(taken)
    assert chosen_numbers(20, text, 2).tolist() == sorted(taken)[:2]


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        (slice(0, 2000, 10), "0:2000:10"),
        (slice(None), ":"),
        (slice(-5, None), "-5:"),
        (slice(None, None, 3), "::3"),
        (7, "7"),
        (np.int64(-7), "-7"),
        ([5, 7], "5,7"),
        (range(3), "0,1,2"),
        (np.array([4, 2]), "4,2"),
        ("1:2, 3", "1:2, 3"),
    ],
)
def test_python_forms_are_kept_as_text_of_the_same_frames(choice, text):
    assert choice_text(choice) == text
    slices_of(text)


@pytest.mark.parametrize("choice", [1.5, [1.5], [None], object()])
def test_what_names_no_frame_is_refused(choice):
    with pytest.raises(ConfigError, match="must be text, numbers or a slice"):
        choice_text(choice)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "neither a number nor"),
        ("1,", "neither a number nor"),
        ("a", "'a': neither a number nor START:STOP:STEP"),
        ("1:2:3:4", "neither"),
        ("1.5", "neither"),
        ("1 2", "neither"),
        ("9" * 30, "neither"),
        ("0:9:0", "the step must be at least 1"),
        ("9:0:-1", "neither"),
    ],
)
def test_bad_text_is_named(text, message):
    with pytest.raises(ValueError, match=message):
        slices_of(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("20", r"no frame 20: the inputs hold 20, 0 to 19"),
        ("-21", r"no frame -21"),
        ("3, 99", r"no frame 99"),
        ("20:", r"frames '20:' are none of the 20"),
        ("5:5", r"are none of the 20"),
    ],
)
def test_frames_that_are_not_there_are_named(text, message):
    with pytest.raises(ConfigError, match=message):
        chosen_numbers(20, text, None)


def test_a_source_of_some_frames_gives_these():
    stack = np.arange(6 * 4 * 5, dtype=np.uint16).reshape(6, 4, 5)
    source = open_source(stack)
    assert choose_frames(source, None, None) is source
    some = choose_frames(source, "1::2", 2)
    assert len(some) == 2
    assert np.array_equal(some[:], stack[[1, 3]])
    assert [some.ref(k).event for k in range(2)] == [source.ref(k).event for k in (1, 3)]
