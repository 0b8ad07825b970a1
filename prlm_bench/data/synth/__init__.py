"""mini-LaMP: LaMP-shaped synthetic data for all seven tasks, with planted preferences as the known truth.

Each user's preferences are drawn first; profiles show them, with noise, and inputs show nothing of them.
So what a model gains from a profile can be judged against what there is to be gained.
"""

from __future__ import annotations

from ._config import VERSION, SynthConfig
from ._family import Preferences
from ._users import answer, truth
from ._writer import write_mini_lamp

__all__ = ["VERSION", "Preferences", "SynthConfig", "answer", "truth", "write_mini_lamp"]
