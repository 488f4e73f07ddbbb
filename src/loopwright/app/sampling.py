"""The load of the machine while a run goes on, as metrics of the run."""

from __future__ import annotations

import threading
from collections.abc import Callable

from loopwright.core.errors import LoopwrightError

__all__ = ["SystemSampler"]

INTERVAL_S = 10.0


class SystemSampler:
    """Logs `system/...` every ten seconds, the first time at once, until it is closed."""

    def __init__(self, log: Callable[..., None], *, interval_s: float = INTERVAL_S) -> None:
        self._log = log
        self._interval_s = interval_s
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="loopwright-system", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._closed.set()
        self._thread.join()

    def _loop(self) -> None:
        import psutil

        process, step = psutil.Process(), 0
        psutil.cpu_percent()
        while True:
            memory, disk, net = psutil.virtual_memory(), psutil.disk_usage("/"), psutil.net_io_counters()
            metrics = {
                "system/cpu_percent": psutil.cpu_percent(),
                "system/memory_used_bytes": float(memory.total - memory.available),
                "system/process_memory_bytes": float(process.memory_info().rss),
                "system/disk_used_bytes": float(disk.used),
                "system/network_sent_bytes": float(net.bytes_sent),
                "system/network_received_bytes": float(net.bytes_recv),
            }
            try:
                self._log(metrics, step=step)
            except LoopwrightError:
                return
            step += 1
            if self._closed.wait(self._interval_s):
                return
