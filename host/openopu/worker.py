"""The thread that owns the link, so that transfers overlap with the caller's arithmetic."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .errors import DeviceError, LinkLost, OpenopuError
from .pipeline import EXPOSURE_IDS, Job, Pipeline
from .session import Session

T = TypeVar("T")
POLL_S = 0.005
"""How long a new job may wait while the thread waits for results."""


@dataclass
class _Call:
    run: Callable[[], Any]
    idle: bool
    future: Future[Any] = field(default_factory=Future)


class Worker:
    """Runs jobs and calls in the order in which they were given.

    Parameters
    ----------
    session
        The link; after construction only the worker's thread touches it.
    settle_s
        Device seconds that all queued projections may take at most, asked when the device's state is unknown.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.reconnect: Callable[[Callable[[], None]], None] | None = None
        """Brings a lost device back, then calls what it is given; None: a lost link is the end."""
        self._keep_alive_s: float | None = None
        self.pipeline = Pipeline(session, lambda: self._keep_alive_s)
        self._queue: queue.SimpleQueue[Job | _Call | None] = queue.SimpleQueue()
        self._broken: OpenopuError | None = None
        self._abandoned: OpenopuError | None = None
        self._gate = threading.Lock()
        self._stopped = False
        self._device_next: int | None = None
        self._left_behind = False
        """The device may still be busy with jobs that failed."""
        self._thread = threading.Thread(target=self._loop, name="openopu link", daemon=True)
        self._thread.start()

    # For the caller's thread

    def call(self, run: Callable[[], T], *, idle: bool = False) -> T:
        """Run a function on the worker's thread once all jobs before it have ended; return its result.

        ``idle``: not before the device, too, has ended what jobs that failed have left it to do.
        """
        item = _Call(run, idle)
        self._put(item)
        result: T = item.future.result()
        return result

    def submit(self, job: Job) -> None:
        """Queue a job; its future says how it ended."""
        self._put(job)

    def _put(self, item: Job | _Call) -> None:
        with self._gate:
            if self._stopped:
                item.future.set_exception(self._closed())
            else:
                self._queue.put(item)

    def stop(self) -> None:
        """End the thread after what is queued. May be called twice."""
        with self._gate:
            if not self._stopped:
                self._stopped = True
                self._queue.put(None)
        self._thread.join()

    def abandon(self) -> None:
        """Make queued jobs fail instead of running, for a caller that leaves because of an error. Calls still run."""
        self._abandoned = self._closed()

    @property
    def abandoned(self) -> bool:
        return self._abandoned is not None

    def _closed(self) -> DeviceError:
        return DeviceError("the device was closed", self._session.where, "Open it again")

    # On the worker's thread

    def keep_alive(self, seconds: float | None) -> None:
        """Longest silence towards the device, or None; call it through :meth:`call`."""
        self._keep_alive_s = seconds

    def forget_exposure(self) -> None:
        """The next job sets ``exposure_base`` anew; call it through :meth:`call`."""
        self._device_next = None

    def _loop(self) -> None:
        while True:
            item = self._next()
            if item is None:
                self._guard(self._drain)
                return
            if isinstance(item, Job):
                self._start(item)
            elif isinstance(item, _Call):
                self._guard(self._drain)
                if self._broken:
                    item.future.set_exception(self._broken)
                    continue
                try:
                    if item.idle and self._left_behind:
                        self._session.wait_idle(giving_up=lambda: self.abandoned)
                        self._left_behind = False
                    item.future.set_result(item.run())
                except LinkLost as lost:
                    item.future.set_exception(self._after_call(lost))
                except BaseException as error:
                    self._note(error)
                    item.future.set_exception(error)

    def _next(self) -> object:
        try:
            if self.pipeline.active:
                return self._queue.get_nowait()
            return self._queue.get(timeout=self._keep_alive_s)
        except queue.Empty:
            if self.pipeline.active:
                self._guard(lambda: self.pipeline.step(POLL_S))
            elif not self._broken and self._keep_alive_s is not None:
                self._guard(lambda: self._session.read("magic"))
            return _IDLE

    def _start(self, job: Job) -> None:
        if error := self._broken or self._abandoned:
            job.future.set_exception(error)
            return

        def begin() -> None:
            if self._device_next != job.first:
                self._drain()
                if self._device_next is None:
                    self._session.wait_idle()
                self._session.write(exposure_base=job.first)
            self._device_next = job.exposure(len(job.planes)) % EXPOSURE_IDS
            self.pipeline.add(job)

        self._guard(begin, job)

    def _drain(self) -> None:
        """Run what is in flight to its end, or fail it if the caller has left."""
        while self.pipeline.active:
            if self._abandoned:
                raise self._abandoned
            self.pipeline.step()

    def _guard(self, action: Callable[[], object], job: Job | None = None) -> None:
        try:
            if self._broken:
                raise self._broken
            self._lasting(action)
        except BaseException as error:
            self._note(error)
            self._left_behind = True
            self.pipeline.fail(error)
            if job is not None and not job.future.done():
                job.future.set_exception(error)

    def _lasting(self, action: Callable[[], object]) -> None:
        """Run ``action``, and again after each loss of the link that the device comes back from."""
        while True:
            try:
                action()
                return
            except LinkLost as lost:
                self._come_back(lost)

    def _come_back(self, lost: LinkLost) -> None:
        if self.reconnect is None or not self._session.device.reconnect_s:
            raise lost
        if not self.pipeline.active:
            self._device_next = None
        try:
            self.reconnect(self.pipeline.resume)
        except OpenopuError as error:
            self._broken = error  # also where a device is there: it may be another, or without its settings
            raise

    def _after_call(self, lost: LinkLost) -> OpenopuError:
        """What a call whose link was lost is told. It is not repeated: it may be any function, such as arming."""
        try:
            self._come_back(lost)
        except OpenopuError as error:
            self._note(error)
            return error
        return LinkLost(f"{lost.what}; the device came back", lost.where, "Do it again")

    def _note(self, error: BaseException) -> None:
        self._device_next = None
        if isinstance(error, LinkLost):
            self._broken = error


_IDLE = object()
