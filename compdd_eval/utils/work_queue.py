"""Work that several processes share, a piece at a time, whoever is idle first."""

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta

from accelerate import Accelerator
from torch import distributed

from compdd_eval.utils.processes import on_main_process

_TIMEOUT = timedelta(hours=1)  # of what another process has begun to find out
_PAUSE = 0.1  # seconds between two looks for a piece
_CLOSED = "closed"


class WorkQueue:
    """Pieces of work and messages, in the store that the launcher has set up; every process must make one.

    Nobody waits for a process that is busy: all counters are in the store. Pieces, messages and notes are what JSON can
    hold.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._heard = 0
        # a launcher that starts processes again keeps its store, with what those before have left in it
        name = on_main_process(accelerator, lambda: uuid.uuid4().hex)
        store = _launchers_store() if accelerator.num_processes > 1 else _own_store()
        self._store = distributed.PrefixStore(f"compdd_{name}", store)

    def put(self, piece: object) -> None:
        """Put a piece at the end."""
        self._append("piece", piece)

    def take(self, while_waiting: Callable[[], None] = lambda: None) -> object | None:
        """Return the next piece, waiting for one; None once the queue is closed."""
        key = f"piece/{self._store.add('taken', 1) - 1}"
        while not self._store.check([key]):
            if self.noted([_CLOSED]):
                return None
            while_waiting()
            time.sleep(_PAUSE)
        return json.loads(self._store.get(key))

    def close(self) -> None:
        """Let every process know that there is nothing left, and nothing to come."""
        self.note(_CLOSED)

    def tell(self, message: object) -> None:
        """Send a message to the main process."""
        self._append("message", message)

    def hear(self) -> Iterator[object]:
        """Yield messages that have come; for the main process."""
        while self._store.check([f"message/{self._heard}"]):
            self._heard += 1
            yield json.loads(self._store.get(f"message/{self._heard - 1}"))

    def note(self, name: str, value: object = None) -> None:
        """Let every process know something, in the place of what was noted by this name."""
        self._store.set(f"note/{name}", json.dumps(value))

    def noted(self, names: list[str]) -> bool:
        """Whether all of these are noted."""
        return self._store.check([f"note/{name}" for name in names])

    def read(self, name: str) -> object:
        """Return what is noted; waits for it."""
        return json.loads(self._store.get(f"note/{name}"))

    def count(self, name: str) -> int:
        """Count; return 1 to the process that does so first, then 2, ..."""
        return self._store.add(f"count/{name}", 1)

    def _append(self, kind: str, value: object) -> None:
        self._store.set(f"{kind}/{self._store.add(f'{kind}s', 1) - 1}", json.dumps(value))


def _launchers_store() -> "distributed.Store":
    place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return distributed.TCPStore(*place, is_master=False, timeout=_TIMEOUT)


def _own_store() -> "distributed.Store":
    return distributed.HashStore()
