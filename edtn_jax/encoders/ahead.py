"""Work on one item while the next one is being made."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

_Item = TypeVar('_Item')
_END = object()


def read_ahead(items: Iterable[_Item], count: int = 8) -> Iterator[_Item]:
  """Yields the items of an iterable that a thread works on in advance.

  Worth it where making an item and using it leave the interpreter free, as
  decoding, the mesh models and JAX do.

  Args:
    items: what to iterate; only the thread touches it.
    count: items that may wait, at least 1.

  Yields:
    The items in order.

  Raises:
    Whatever the iterable raises, in its place. An end before the last item
    stops the thread at its next item.
  """
  waiting: queue.Queue = queue.Queue(count)
  stop = threading.Event()

  def put(item: object) -> bool:
    while not stop.is_set():
      try:
        waiting.put(item, timeout=0.1)
        return True
      except queue.Full:
        continue
    return False

  def work() -> None:
    try:
      for item in items:
        if not put((item, None)):
          return
      put((_END, None))
    # It belongs to whoever uses the items.
    except BaseException as error:
      put((_END, error))

  thread = threading.Thread(target=work, daemon=True)
  thread.start()
  try:
    while True:
      item, error = waiting.get()
      if error is not None:
        raise error
      if item is _END:
        return
      yield item
  finally:
    stop.set()
    thread.join()
