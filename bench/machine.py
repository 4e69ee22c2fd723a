"""Where a benchmark ran: the machine, the versions, and what else kept its cores busy meanwhile."""

import importlib.metadata
import os
import platform
import resource
import subprocess
import time
from pathlib import Path
from typing import Final

import msgspec
import psutil
import zmq

ROOT: Final = Path(__file__).parents[1]
LIBRARIES: Final = ("picows", "aiofastnet", "uvloop", "msgspec", "pyzmq")


def commit() -> str:
    """Return the checkout's commit, with a plus where the code measured is not quite that."""
    try:
        head = _git("rev-parse", "--short", "HEAD")
        return head + "+" * bool(_git("status", "--porcelain", "--", "feedhandler", "bench/*.py"))
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    return subprocess.run(("git", *arguments), cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S607 - the git of whoever runs it


def facts() -> dict[str, str]:
    """Return what figures depend on."""
    return {
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "CPU": f"{_cpu_model()}, {os.cpu_count()} logical cores",
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}, {platform.python_compiler()}",
        "libraries": ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)
        + f", libzmq {zmq.zmq_version()}",
    }


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


class Load(msgspec.Struct):
    """How busy the machine was with what is not ours."""

    others_cores: float
    """Cores' worth of work of other processes, on average."""
    steal_cores: float
    """Cores' worth that the host gave to other guests."""

    def __str__(self) -> str:
        return f"others kept {self.others_cores:.2f} cores busy, the host took away {self.steal_cores:.2f}"


class LoadMeter:
    """Measures `Load` from its making to `stop`. Our own processes must have ended by then, or they count as others."""

    def __init__(self) -> None:
        self._begin = self._reading()

    def stop(self) -> Load:
        """Return the load since the meter was made."""
        wall_s, busy_s, ours_s, steal_s = (end - begin for begin, end in zip(self._begin, self._reading(), strict=True))
        return Load(max(0.0, busy_s - ours_s) / wall_s, steal_s / wall_s)

    @staticmethod
    def _reading() -> tuple[float, float, float, float]:
        times = psutil.cpu_times()
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        ours_s = sum(usage.ru_utime + usage.ru_stime for usage in used)
        return time.monotonic(), times.user + times.nice + times.system + times.irq + times.softirq, ours_s, times.steal


class CpuTime(msgspec.Struct):
    """CPU time of a process, in ns."""

    main: int
    """Of its main thread: the one that runs Python."""
    process: int
    """Of all its threads: ZeroMQ's too."""

    def __sub__(self, other: "CpuTime") -> "CpuTime":
        return CpuTime(self.main - other.main, self.process - other.process)


def cpu_time(pid: int) -> CpuTime:
    """Read the CPU time of a process."""
    threads = {
        int(task.name): int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()
    }
    return CpuTime(threads[pid], sum(threads.values()))


def memory_bytes(pid: int) -> dict[str, int]:
    """Read the memory of a process: ``VmRSS`` now, ``VmHWM`` at its peak, ``RssAnon`` without files and libraries."""
    lines = (line.partition(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {name: int(text.split()[0]) * 1024 for name, _, text in lines if name in ("VmRSS", "VmHWM", "RssAnon")}
