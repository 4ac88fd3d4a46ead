"""The network stays in the caller's thread, and what is read and blended around it in another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any


class Caller(Executor):
    """Runs what another thread submits in the thread that serves it.

    Notes
    -----
    OpenMP, which PyTorch computes with on processors, gives every thread that calls it a team of
    its own, and lets teams sleep between steps as soon as there are more threads than cores: a
    network takes longer in a second thread than in the one that computed before.
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[_Call | _Made | _Ended] = SimpleQueue()
        self._lock, self._is_closed = Lock(), False

    def submit[**P, Result](
        self, fn: Callable[P, Result], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[Result]:
        """Leave a call to the thread that serves."""
        call = _Call(Future(), lambda: fn(*args, **kwargs))
        with self._lock:
            if self._is_closed:
                raise RuntimeError("nobody serves calls any more")
            self._queue.put(call)
        return call.future

    def serve[Value](self, values: Iterable[Value]) -> Iterator[Value]:
        """Yield values that another thread makes; meanwhile run here what it submits.

        When the caller takes no more of them, calls that wait are cancelled, which ends that
        thread. Its errors are raised here.
        """
        maker = Thread(target=self._make, args=(values,), name="blend", daemon=True)
        maker.start()
        try:
            while not isinstance(one := self._queue.get(), _Ended):
                if isinstance(one, _Made):
                    yield one.value
                else:
                    one.run()
            if one.error is not None:
                raise one.error
        finally:
            self.shutdown()
            maker.join()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = True) -> None:
        """Take no more calls, and cancel those that wait."""
        with self._lock:
            self._is_closed = True
        while True:
            try:
                one = self._queue.get_nowait()
            except Empty:
                return
            if isinstance(one, _Call):
                one.future.cancel()

    def _make(self, values: Iterable[Any]) -> None:
        error = None
        try:
            for value in values:
                self._queue.put(_Made(value))
        except BaseException as caught:  # raised again in the caller's thread
            error = caught
        self._queue.put(_Ended(error))


@dataclass(frozen=True, slots=True)
class _Call:
    future: Future[Any]
    work: Callable[[], Any]

    def run(self) -> None:
        try:
            self.future.set_result(self.work())
        except BaseException as error:
            self.future.set_exception(error)
            if not isinstance(error, Exception):
                raise


@dataclass(frozen=True, slots=True)
class _Made:
    value: Any


@dataclass(frozen=True, slots=True)
class _Ended:
    error: BaseException | None
