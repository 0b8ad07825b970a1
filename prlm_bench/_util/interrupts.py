"""Ctrl-C: the first one stops the command in its own time, the second one at once; both end with status 130."""

# Imported before anything else, so that little can be interrupted without this: nothing but built-in modules.
import _thread
import os
import signal
import sys
import time
from types import FrameType
from typing import Any

_LINE = "prlm-bench: interrupted"


class Interrupts:
    """What is known of Ctrl-C in this process."""

    STATUS = 130

    def __init__(self) -> None:
        #: Whether Ctrl-C was pressed.
        self.pressed = False
        #: Whether the user was told so.
        self.said = False
        self._ending = False

    def install(self) -> None:
        """Take over Ctrl-C from Python, unless whoever started this process has switched it off."""
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            return
        signal.signal(signal.SIGINT, self._press)
        sys.unraisablehook = self._unraisable

    def say(self, line: str = _LINE) -> int:
        """Tell the user, once, and give the exit status."""
        if not self.said:
            self.said = True
            print(line, file=sys.stderr, flush=True)
        return self.STATUS

    def ending(self) -> None:
        """From now on nothing is left that could be stopped in its own time."""
        self._ending = True

    def _press(self, number: int, frame: FrameType | None) -> None:
        if self.pressed or self._ending:
            if not self.said:
                os.write(2, f"{_LINE}\n".encode())  # a stream may be in the middle of writing
            os._exit(self.STATUS)
        self.pressed = True
        raise KeyboardInterrupt

    def _unraisable(self, error: "sys.UnraisableHookArgs") -> Any:
        """Interrupt again where Python could not raise the interrupt, as in a destructor."""
        if not issubclass(error.exc_type, KeyboardInterrupt):
            return sys.__unraisablehook__(error)
        self.pressed = False
        return _thread.start_new_thread(_press_again, ())


def _press_again() -> None:
    time.sleep(0.01)
    _thread.interrupt_main()


interrupts = Interrupts()
