"""Lines of a log as a screen shows them."""

import pytest

from detour.launch.text.logs import log_line


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("step 1", "step 1"),
        ("\rloading:   0%|   |\rloading: 100%|███|", "loading: 100%|███|"),
        ("the end of a line of Windows\r", "the end of a line of Windows"),
        ("\x1b[1mREPORT\x1b[0m of a library", "REPORT of a library"),
        ("- KEY:\tits value", "- KEY:  its value"),
        ("\x1b]0;owned\x07\x1b[2Jtext\x07\u202e", "text  "),
        ("", ""),
    ],
)
def test_a_line_is_shown_as_a_terminal_leaves_it_without_control_characters(written: str, shown: str) -> None:
    assert log_line(written) == shown
