"""The processes: starting, finding and ending them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from hbase_cluster.configuration import DATANODES, HOST, Options, is_free, ports_of
from hbase_cluster.faults import ClusterFault

__all__ = ["Cluster", "Daemon"]

PAUSE = 0.2
SHORT_PAUSE = 0.01
GRACE = 4.0  # seconds to finish before they are killed

# what HBase needs on Java 17, and Arrow, which shares java.nio
OPENED = ("java.lang", "java.lang.reflect", "java.nio", "java.util", "jdk.internal.ref", "sun.nio.ch")
JVM = [word for package in OPENED for word in ("--add-opens", f"java.base/{package}=ALL-UNNAMED")]
JVM += ["--add-exports", "java.base/jdk.internal.misc=ALL-UNNAMED", "-Djava.net.preferIPv4Stack=true"]
JVM += ["-XX:+ExitOnOutOfMemoryError", "-XX:-UsePerfData"]
SMALL = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]  # for daemons that carry no rows


@dataclass(frozen=True)
class Daemon:
    """One process of the cluster.

    Parameters
    ----------
    name
        The name of the daemon, its pid file and its log.
    main
        The Java class.
    heap
        The heap, as for -Xmx.
    port
        The port that is open once the daemon is up.
    words
        The arguments of the class.
    flags
        Other flags of the JVM.
    """

    name: str
    main: str
    heap: str
    port: int
    words: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()

    @property
    def of_hbase(self) -> bool:
        """Whether it needs HDFS and ZooKeeper."""
        return self.name.startswith(("master", "regionserver"))


@dataclass(frozen=True)
class Cluster:
    """The daemons of one folder.

    Every process has the folder and its name on its command line. These marks, not the pid files, identify what
    runs: a recycled process ID is never mistaken for a daemon, and a daemon without its file is still found.

    Parameters
    ----------
    folder
        The folder of the cluster; an absolute path.
    options
        The options of the cluster.
    java
        The java command.
    lib
        The jars.
    """

    folder: Path
    options: Options
    java: str = "java"
    lib: Path = Path()

    @property
    def daemons(self) -> list[Daemon]:
        """All daemons, in the order of starting."""
        ports, hadoop, hbase = ports_of(self.options), "org.apache.hadoop.hdfs.server", "org.apache.hadoop.hbase"
        small = tuple(SMALL)
        found = [Daemon("namenode", f"{hadoop}.namenode.NameNode", "256m", ports["namenode"], flags=small)]
        for number in range(1, DATANODES + 1):
            name = f"datanode-{number}"
            given = {
                "dfs.datanode.data.dir": (self.folder / "data" / name).as_uri(),
                "dfs.datanode.address": f"{HOST}:{ports[name]}",
                "dfs.datanode.ipc.address": f"{HOST}:{ports[f'{name}-ipc']}",
                "dfs.datanode.http.address": f"{HOST}:{ports[f'{name}-http']}",
            }
            found.append(Daemon(name, f"{hadoop}.datanode.DataNode", "192m", ports[name], _defined(given), small))
        if not self.options.regionservers:
            return found
        found.append(Daemon("zookeeper", f"{hbase}.zookeeper.HQuorumPeer", "128m", ports["zookeeper"], ("start",), small))
        found.append(Daemon("master", f"{hbase}.master.HMaster", "512m", ports["master"], ("start",), small))
        for number in range(1, self.options.regionservers + 1):
            name = f"regionserver-{number}"
            words = (*_defined({"hbase.regionserver.port": str(ports[name])}), "start")
            found.append(Daemon(name, f"{hbase}.regionserver.HRegionServer", "1g", ports[name], words, ("-XX:+UseG1GC",)))
        return found

    def log(self, name: str) -> Path:
        """Return the log file of a process."""
        return self.folder / "logs" / f"{name}.log"

    def pid_file(self, name: str) -> Path:
        """Return the pid file of a process."""
        return self.folder / "pids" / f"{name}.pid"

    def running(self) -> dict[str, list[int]]:
        """Return the process IDs of all processes with the marks of this cluster, including strays."""
        mark = f"-Dalertflight.cluster={self.folder}".encode()
        found: dict[str, list[int]] = {}
        for pid in _process_ids():
            words = _command_line(pid)
            if mark in words:
                name = next((word.partition(b"=")[2] for word in words if word.startswith(b"-Dalertflight.daemon=")), b"?")
                found.setdefault(name.decode(), []).append(pid)
        return found

    def start(self, daemon: Daemon) -> int:
        """Start a daemon in its own session, independent of the terminal; return its process ID."""
        for name, port in ports_of(self.options).items():
            if (name == daemon.name or name.startswith(f"{daemon.name}-")) and not is_free(port):
                raise ClusterFault(f"port {port} ({name}) is in use by another process; choose others with --ports BASE or free")
        command = self.command(daemon.name, daemon.main, daemon.heap, daemon.flags) + list(daemon.words)
        process = self.spawn(daemon.name, command)
        self.note(daemon.name, process.pid)
        return process.pid

    def note(self, name: str, pid: int) -> None:
        """Write the pid file."""
        self.pid_file(name).write_text(f"{pid}\n")

    def command(self, name: str, main: str, heap: str, flags: Collection[str] = ()) -> list[str]:
        """Return a Java command with the marks."""
        marks = [f"-Dalertflight.cluster={self.folder}", f"-Dalertflight.daemon={name}"]
        places = [f"-Djava.io.tmpdir={self.folder / 'tmp'}", f"-XX:ErrorFile={self.folder / 'logs'}/{name}-crash.log"]
        path = f"{self.folder}/conf:{self.lib}/*"
        return [self.java, f"-Xmx{heap}", *flags, *JVM, *marks, *places, "-cp", path, main]

    def spawn(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        """Run a command that writes to the log of that name; its marks are visible when this returns."""
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(  # noqa: S603  (our own command)
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        while not self._is_ours(process.pid) and process.poll() is None:
            time.sleep(SHORT_PAUSE)  # just after exec Linux shows no command line
        return process

    def make_folders(self) -> None:
        """Create missing folders, and delete the pid files of dead processes."""
        for name in ("data", "logs", "pids", "tmp"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        running = self.running()
        for path in (self.folder / "pids").glob("*.pid"):
            if path.stem not in running:
                path.unlink()

    def is_formatted(self) -> bool:
        """Whether the NameNode has its folder."""
        return (self.folder / "data" / "namenode").exists()

    def format(self) -> None:
        """Create the NameNode's empty folder; under a temporary name first, so that a partial one is never used."""
        ready, unfinished = self.folder / "data" / "namenode", self.folder / "data" / "namenode.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        command = self.command("format", "org.apache.hadoop.hdfs.server.namenode.NameNode", "256m", SMALL)
        words = _defined({"dfs.namenode.name.dir": unfinished.as_uri()})
        if self.spawn("format", [*command, *words, "-format", "-nonInteractive"]).wait() != 0:
            raise ClusterFault(f"the NameNode could not be formatted; its log ends with\n{self.last_lines('format')}")
        unfinished.rename(ready)

    def last_lines(self, name: str, count: int = 15) -> str:
        """Return the end of a log, for an error."""
        text = self.log(name).read_text(errors="replace") if self.log(name).exists() else ""
        return "\n".join([*text.splitlines()[-count:], f"({self.log(name)})"])

    def stop(self) -> None:
        """End all processes, those of HBase first, and kill slow ones: the data are reproducible."""
        upper = [daemon.name for daemon in self.daemons if daemon.of_hbase]
        self._end([pid for name, pids in self.running().items() if name in upper for pid in pids])
        for _ in range(3):  # a process that was just starting is seen in the second pass
            self._end([pid for pids in self.running().values() for pid in pids])
        if left := self.running():
            raise ClusterFault(f"these processes could not be ended: {left}")
        for path in (self.folder / "pids").glob("*.pid"):
            path.unlink()

    def _end(self, pids: Collection[int]) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            left = [pid for pid in pids if self._is_ours(pid)]
            for pid in left:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue
                except PermissionError as fault:
                    raise ClusterFault(f"process {pid} of this cluster belongs to another user") from fault
            end = time.monotonic() + GRACE
            while any(self._is_ours(pid) for pid in left) and time.monotonic() < end:
                time.sleep(PAUSE)

    def _is_ours(self, pid: int) -> bool:
        return f"-Dalertflight.cluster={self.folder}".encode() in _command_line(pid)


def _defined(settings: dict[str, str]) -> tuple[str, ...]:
    return tuple(word for name, value in settings.items() for word in ("-D", f"{name}={value}"))


def _process_ids() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())


def _command_line(pid: int) -> list[bytes]:
    """Return the command line of a process; empty if it is gone or a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []
