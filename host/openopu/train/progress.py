"""Progress of a run on the terminal: rate, time left, and a line for each epoch. Silent where nobody watches."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text


class RateColumn(ProgressColumn):
    """Images per second; a step is ``batch`` images."""

    def __init__(self, batch: int) -> None:
        super().__init__()
        self._batch = batch

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed * self._batch:,.0f} images/s")


class TrainingProgress:
    """Observer of a :class:`openopu.train.trainer.Trainer` that draws a bar on stderr. Use it in a ``with`` block.

    Parameters
    ----------
    epochs, steps_per_epoch, batch : extent of the run
    done : steps that were made before (resumed runs)
    quiet : draw nothing; also where stderr is no terminal
    """

    def __init__(self, epochs: int, steps_per_epoch: int, batch: int, done: int = 0, *, quiet: bool = False) -> None:
        console = Console(stderr=True)
        self._epochs, self._steps = epochs, steps_per_epoch
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            RateColumn(batch),
            TextColumn("loss {task.fields[loss]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=quiet or not sys.stderr.isatty(),
        )
        self._task = self._progress.add_task("epoch", total=epochs * steps_per_epoch, completed=done, loss="-")

    def __enter__(self) -> TrainingProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def stepped(self, epoch: int, step: int, steps: int, loss: float) -> None:
        self._progress.update(
            self._task,
            completed=epoch * steps + step,
            description=f"epoch {epoch + 1}/{self._epochs}",
            loss=f"{loss:.3f}",
        )

    def epoch_ended(self, entry: dict[str, Any]) -> None:
        if self._progress.disable:
            return
        angles = ", ".join("-" if a is None else f"{a:.0f}" for a in entry["alignment_degrees"])
        self._progress.console.print(
            f"epoch {entry['epoch']:>3}: loss {entry['loss']:.4f}, test accuracy {100 * entry['test_accuracy']:.2f} %, "
            f"angles {angles} degrees, {entry['projections']:,} projections, {entry['seconds']:.1f} s",
            highlight=False,
        )
