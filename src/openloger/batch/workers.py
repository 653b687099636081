"""Work spread over Ray's workers: one item a worker at a time, taken up by another where a worker dies.

The driver holds no more than the items in hand. A worker is an actor with one thread for its work and one that answers
for its progress; it prepares itself once (a network is loaded) and then takes item after item.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from openloger.errors import InputError, OpenlogerError, in_a_line
from openloger.version import install_command

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
POLL_S = 0.5
OBJECT_STORE_BYTES = 100 * 2**20  # of a Ray that is started here; only names and numbers pass through it
_FIRST_RETRY_S = 2.0
_LAST_BREATH_S = 1.0  # until a worker that is killed has let go of its files


class WorkerControl:
    """The line between work and the driver, on the worker's side."""

    def __init__(self) -> None:
        self._done, self._stop = 0, False
        self._note = ""

    def report(self, done: int, note: str = "") -> None:
        """So much of the item in hand is done (frames), and what it waits for, if it does."""
        self._done, self._note = done, note

    def should_stop(self) -> bool:
        """Whether the driver asks for an early end, at a place from which the item can be continued."""
        return self._stop

    def stop(self) -> None:
        self._stop = True

    def now(self) -> tuple[int, str]:
        return self._done, self._note


Work = Callable[[Any, WorkerControl], Any]  # an item, done; raises where another attempt may help


@dataclass(frozen=True, kw_only=True)
class WorkerResources:
    """The number of workers, and the resources of each."""

    workers: int | None = None  # None: as many as the machine or the cluster has room for
    cpus_per_worker: int = 1  # torch's threads, too
    gpus_per_worker: float | None = None  # 0.25: four on one card; None: a card each where there are any, else none
    address: str | None = None  # of a Ray cluster; None: this machine
    attempts: int = 3  # at one item, counting the first
    stall_s: float | None = None  # without any progress at an item, after which its worker is replaced; None: never

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise InputError(f"workers is {self.workers}: give 1 or more")
        if self.cpus_per_worker < 1:
            raise InputError(f"cpus_per_worker is {self.cpus_per_worker}: give 1 or more")
        if self.gpus_per_worker is not None and self.gpus_per_worker < 0:
            raise InputError(f"gpus_per_worker is {self.gpus_per_worker}: give 0 or more")
        if self.attempts < 1:
            raise InputError(f"attempts is {self.attempts}: give 1 or more")
        if self.stall_s is not None and self.stall_s <= 0:
            raise InputError(f"stall_s is {self.stall_s:g}: give more than 0, or None for no limit")


@dataclass(frozen=True)
class Finished(Generic[ItemT, ResultT]):
    """An item that needs no more work."""

    item: ItemT
    result: ResultT | None  # None: every attempt failed
    error: str | None  # of the last attempt, where all failed
    attempts: int


@dataclass(frozen=True)
class PoolProgress:
    """A moment of a pool."""

    done: int  # by the items in hand, together
    notes: tuple[str, ...]  # what workers wait for
    workers: int


@dataclass
class _Attempt:
    item: Any
    number: int
    not_before_s: float = 0.0


@dataclass
class _Seat:
    """A worker, and what it does."""

    actor: Any
    attempt: _Attempt | None = None  # None: it prepares itself, or is idle
    done: int = 0
    note: str = ""
    asked: Any = None  # a question for its progress that is under way
    moved_s: float = 0.0  # of time.monotonic, when its progress last changed, or it said what it waits for


@dataclass
class _Books:
    """The tasks that are left, and the workers that have them."""

    items: Iterator[Any]
    again: deque[_Attempt] = field(default_factory=deque)
    running: dict[Any, _Seat] = field(default_factory=dict)  # by the reference of what each is doing
    idle: list[_Seat] = field(default_factory=list)
    deaths_in_a_row: int = 0

    def next(self) -> _Attempt | None:
        """An attempt whose time has come."""
        now_s = time.monotonic()
        for attempt in self.again:
            if attempt.not_before_s <= now_s:
                self.again.remove(attempt)
                return attempt
        item = next(self.items, None)
        return None if item is None else _Attempt(item, 1)


class WorkerPool:
    """Workers of a Ray cluster, or of this machine, while the `with` block lasts."""

    def __init__(self, prepare: Callable[[], Work], resources: WorkerResources | None = None) -> None:
        """`prepare` is called once in each worker; it must be picklable, as must items and results.

        Raises:
            InputError: Ray is not installed.
        """
        self._prepare, self._resources = prepare, resources or WorkerResources()
        self._ray = import_ray()
        self._started_ray = False
        self._seats: list[_Seat] = []

    def __enter__(self) -> WorkerPool:
        self._started_ray = _connect(self._ray, self._resources)
        try:
            count, options = _placement(self._ray.cluster_resources(), self._resources)
            self._make = self._ray.remote(max_concurrency=2, **options)(_Worker).remote
            self._seats = [_Seat(self._make(self._prepare)) for _ in range(count)]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for seat in self._seats:
            self._ray.kill(seat.actor)
        self._seats = []
        if self._started_ray:
            self._ray.shutdown()

    @property
    def worker_count(self) -> int:
        return len(self._seats)

    def run(
        self,
        items: Iterable[ItemT],
        *,
        on_progress: Callable[[PoolProgress], None] = lambda progress: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Finished[ItemT, Any]]:
        """Each item once it is finished, in the order in which they end. Items are drawn when a worker is free.

        An attempt that raises, or whose worker dies or hangs (`resources.stall_s`), is made again, in the end
        `resources.attempts` times. Once `should_stop` is true no item is begun, and those in hand are asked to end
        early.

        Raises:
            InputError: what `prepare` raises: no worker could do anything.
            OpenlogerError: workers die one after the other.
        """
        books = _Books(iter(items))
        for seat in self._seats:
            books.running[seat.actor.prepare.remote()] = seat
        stopping = False
        while True:
            if should_stop() and not stopping:
                stopping = True
                for seat in books.running.values():
                    seat.actor.stop.remote()
            if not stopping:
                self._assign(books)
            if not books.running and (stopping or not books.again):
                return
            yield from self._collect(books)
            on_progress(self._progress(books))
            yield from self._replace_stalled(books)

    def _assign(self, books: _Books) -> None:
        while books.idle and (attempt := books.next()) is not None:
            seat = books.idle.pop()
            seat.attempt, seat.done, seat.note, seat.asked, seat.moved_s = attempt, 0, "", None, time.monotonic()
            books.running[seat.actor.work.remote(attempt.item)] = seat

    def _collect(self, books: _Books) -> Iterator[Finished[Any, Any]]:
        if not books.running:  # an item waits for its next attempt
            time.sleep(POLL_S)
            return
        ended, _ = self._ray.wait(list(books.running), num_returns=1, timeout=POLL_S)
        for reference in ended:
            seat = books.running.pop(reference)
            try:
                outcome = self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                yield from self._replace(books, seat, f"its worker died: {in_a_line(error)}")
                continue
            books.idle.append(seat)
            attempt, seat.attempt = seat.attempt, None
            if attempt is None:
                if outcome is not None:
                    raise InputError(outcome)
                continue
            books.deaths_in_a_row = 0
            result, failure = outcome
            if failure is None:
                yield Finished(attempt.item, result, None, attempt.number)
            else:
                wait_s = _FIRST_RETRY_S * 2 ** (attempt.number - 1)
                yield from self._again(books, attempt, failure, wait_s)

    def _replace_stalled(self, books: _Books) -> Iterator[Finished[Any, Any]]:
        limit_s, now_s = self._resources.stall_s, time.monotonic()
        for reference, seat in list(books.running.items()):
            if limit_s is not None and seat.attempt is not None and now_s - seat.moved_s > limit_s:
                del books.running[reference]
                yield from self._replace(books, seat, f"its worker made no progress for {limit_s:g} s")

    def _replace(self, books: _Books, seat: _Seat, reason: str) -> Iterator[Finished[Any, Any]]:
        """A new worker in the place of one that died or hangs; what it did is done again."""
        books.deaths_in_a_row += 1
        if books.deaths_in_a_row > self._resources.attempts * max(4, self.worker_count):
            raise OpenlogerError(f"workers fail one after the other, the last of them: {reason}")
        self._seats.remove(seat)
        self._ray.kill(seat.actor)
        fresh = _Seat(self._make(self._prepare))
        self._seats.append(fresh)
        books.running[fresh.actor.prepare.remote()] = fresh
        if seat.attempt is not None:
            yield from self._again(books, seat.attempt, reason, _LAST_BREATH_S)

    def _again(self, books: _Books, attempt: _Attempt, reason: str, wait_s: float) -> Iterator[Finished[Any, Any]]:
        if attempt.number >= self._resources.attempts:
            yield Finished(attempt.item, None, reason, attempt.number)
        else:
            books.again.append(_Attempt(attempt.item, attempt.number + 1, time.monotonic() + wait_s))

    def _progress(self, books: _Books) -> PoolProgress:
        busy = [seat for seat in books.running.values() if seat.attempt is not None]
        for seat in busy:
            if seat.asked is None:
                seat.asked = seat.actor.progress.remote()
                continue
            answered, _ = self._ray.wait([seat.asked], timeout=0)
            if answered:
                try:
                    moment = self._ray.get(seat.asked)
                except self._ray.exceptions.RayError:  # it has died, which its work will report
                    continue
                if moment != (seat.done, seat.note) or moment[1]:  # what waits for room does not hang
                    seat.moved_s = time.monotonic()
                (seat.done, seat.note), seat.asked = moment, None
        return PoolProgress(
            sum(seat.done for seat in busy), tuple(seat.note for seat in busy if seat.note), self.worker_count
        )


class _Worker:
    """The actor: `work` in one thread, `progress` and `stop` in the other."""

    def __init__(self, make: Callable[[], Work]) -> None:
        self._make = make
        self._work: Work | None = None
        self._control = WorkerControl()

    def prepare(self) -> str | None:
        """None once it is ready; else why no worker can be."""
        try:
            self._work = self._work or self._make()  # a pool may run several times
        except OpenlogerError as error:
            return str(error)
        return None

    def work(self, item: Any) -> tuple[Any, str | None]:
        """(result, None), or (None, why another attempt is needed)."""
        assert self._work is not None
        self._control.report(0)
        try:
            return self._work(item, self._control), None
        except Exception as error:  # noqa: BLE001 - one item must not end all others; the driver reports it
            return None, f"{type(error).__name__}: {error}" if not isinstance(error, OpenlogerError) else str(error)

    def progress(self) -> tuple[int, str]:
        return self._control.now()

    def stop(self) -> None:
        self._control.stop()


def import_ray() -> Any:
    """The package.

    Raises:
        InputError: it is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError(f"work on several workers needs the package ray: {install_command('ray')}") from error
    return ray


def _connect(ray: Any, resources: WorkerResources) -> bool:
    """Use the Ray that this program is connected to, join a cluster, or start one here; True for the last two."""
    if ray.is_initialized():
        return False
    if resources.address is not None:
        with _silent(), _own_signals():
            try:
                ray.init(address=resources.address, log_to_driver=False, logging_level="ERROR")
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise InputError(
                    f"no Ray cluster answers at {resources.address}: {in_a_line(error)}; start one with `ray start`"
                ) from error
        return True
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a local Ray reports to nobody
    cpus = (
        None if resources.workers is None else max(os.cpu_count() or 1, resources.workers * resources.cpus_per_worker)
    )
    with _silent(), _own_signals():
        ray.init(
            address="local",
            num_cpus=cpus,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level="ERROR",
        )
    return True


@contextmanager
def _silent() -> Iterator[None]:
    """Without Python's warnings about Ray's own code."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _own_signals() -> Iterator[None]:
    """With the program's answers to Ctrl-C and SIGTERM afterwards: Ray's core puts its own, which abort the process, in
    their place, beneath Python, which still names the program's. Only the main thread can set them."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                if handler is not None:  # None: it was not set from Python
                    signal.signal(number, handler)


def _placement(available: dict[str, float], resources: WorkerResources) -> tuple[int, dict[str, Any]]:
    """The number of workers, and the resources of each."""
    cards = available.get("GPU", 0.0)
    gpus = resources.gpus_per_worker if resources.gpus_per_worker is not None else min(1.0, cards)
    room = available.get("CPU", 0.0) / resources.cpus_per_worker
    if gpus:
        room = min(room, cards / gpus)
    if room < 1 or (resources.workers is not None and resources.workers > room):
        raise InputError(
            f"there is room for {int(room)} workers of {resources.cpus_per_worker} CPUs and {gpus:g} GPUs "
            f"({available.get('CPU', 0):g} CPUs, {cards:g} GPUs); give fewer workers, or less to each"
        )
    return resources.workers or int(room), {"num_cpus": resources.cpus_per_worker, "num_gpus": gpus}
