"""What a build tells while it runs, from however many processes: images done, and images that are bad."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

_EVERY = 0.1  # seconds between two looks


class BuildLog:
    """Two files that every process of a build appends to; can be pickled.

    Args:
        folder: Where they lie; it must exist.
    """

    def __init__(self, folder: Path) -> None:
        self._done, self._bad = str(folder / "done"), str(folder / "bad")
        self._process = os.getpid()

    def add_images(self, number: int) -> None:
        """Count images that were read; ends a worker whose main process is gone."""
        # the workers of `datasets` do not notice that their parent was killed, and would build on for nobody
        if self._process not in (os.getpid(), os.getppid()):
            os._exit(1)
        # a byte an image: appends of several processes never mix, and the size of the file is the count
        self._append(self._done, b"." * number)

    def add_problem(self, message: str) -> None:
        """Note an image that is bad, in one line."""
        self._append(self._bad, message.encode() + b"\n")

    @property
    def images(self) -> int:
        """Number of images that were read."""
        return os.path.getsize(self._done) if os.path.exists(self._done) else 0

    @property
    def problems(self) -> list[str]:
        """All bad images."""
        return Path(self._bad).read_text(encoding="utf-8").splitlines() if os.path.exists(self._bad) else []

    @contextlib.contextmanager
    def watched(self, on_images: Callable[[int], object] | None) -> Iterator[None]:
        """Call a function with the number of new images, from a thread, while the build runs."""
        if on_images is None:
            yield
            return
        stop, seen = threading.Event(), 0

        def look() -> None:
            nonlocal seen
            ended = False
            while not ended:
                ended = stop.wait(_EVERY)
                if (now := self.images) > seen:
                    on_images(now - seen)
                    seen = now

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    @staticmethod
    def _append(path: str, content: bytes) -> None:
        with open(path, "ab", buffering=0) as file:
            file.write(content)
