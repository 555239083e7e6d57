"""Processes that a launcher starts again after one has died: they must not find the addresses of the dead."""

import os
import time
import uuid
from datetime import timedelta

from torch import distributed

_PAUSE = 0.1  # seconds between two looks


def join_again(backend: str, timeout: timedelta) -> None:
    """Make the process group where the launcher may start processes again (`--max_restarts`); else leave it to others.

    torch (2.14) gives processes that are started again the store of those before, in which their addresses still are:
    whoever looks there first waits for a dead one.

    Args:
        backend: Of the group.
        timeout: Of its operations.
    """
    again = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", 0)) > 0
    if not again or int(os.environ["WORLD_SIZE"]) == 1 or distributed.is_initialized():
        return
    rank, number = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    distributed.init_process_group(
        backend, store=_store_of_the_living(rank, number, timeout), rank=rank, world_size=number, timeout=timeout
    )


def _store_of_the_living(rank: int, number: int, timeout: timedelta) -> "distributed.Store":
    """Return the launcher's store under a name that only processes of this start are told.

    Every process asks under a name that is its own, so that no answer is of an earlier start; the first process answers
    until all have joined it. Counting starts would not do: launchers of several machines count apart.
    """
    place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = distributed.TCPStore(*place, is_master=False, timeout=timeout)
    if rank:
        mine = uuid.uuid4().hex
        store.set(f"compdd/asks/{rank}", mine)
        name = store.get(f"compdd/answer/{mine}").decode()
        store.add(f"compdd/joined/{name}", 1)
        return distributed.PrefixStore(name, store)
    name, others = uuid.uuid4().hex, [f"compdd/asks/{other}" for other in range(1, number)]
    while store.add(f"compdd/joined/{name}", 0) < number - 1:
        for asking in others:
            if store.check([asking]):
                store.set(f"compdd/answer/{store.get(asking).decode()}", name)
        time.sleep(_PAUSE)
    return distributed.PrefixStore(name, store)
