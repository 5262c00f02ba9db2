"""What all steps of a design share: its request, state, clock and images."""

from dataclasses import dataclass, field
from functools import cached_property

from convwright.data import Dataset
from convwright.data.opened import Data
from convwright.designing.clock import Clock
from convwright.designing.record import write_record
from convwright.designing.request import DesignRequest
from convwright.designing.state import State
from convwright.designing.trials import Trainer
from convwright.display.progress import print_progress


@dataclass
class DesignContext:
    """A design at work."""

    request: DesignRequest
    state: State
    clock: Clock
    progress: bool
    """Whether to show on standard error how far the design has come."""
    data: Data = field(init=False)
    """The images, with the split that the design made where they had none; set when they have been examined."""

    @property
    def dataset(self) -> Dataset:
        """The decoded images."""
        return self.data.dataset()

    @cached_property
    def trainer(self) -> Trainer:
        """Trains candidates of the design."""
        return Trainer(self.data, self.request.out, self.clock, self.request.seed, self.progress)

    def report(self, text: str) -> None:
        """Show a line with the time that has passed; keep that time, and the best answer so far."""
        self.keep()
        if self.progress:
            minutes, seconds = divmod(int(self.clock.passed), 60)
            print_progress(f"{minutes:3d}:{seconds:02d}  {text}")

    def keep(self) -> None:
        """Write the time that has passed, and the best answer so far."""
        write_record(self.state, self.clock.save())
