"""The commands up, down, status and reset."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hbase_cluster.artifacts import HERE, find_jars, find_java
from hbase_cluster.configuration import HOST, hdfs_url, ports_of, write_configuration
from hbase_cluster.daemons import Cluster, Daemon
from hbase_cluster.faults import ClusterFault
from hbase_cluster.state import Wishes, choose, forget_processes, read_options, save
from hbase_cluster.waiting import listens, wait_for_hdfs, wait_for_table

__all__ = ["main"]

ROOT = HERE.parent.parent
HIGHEST_BASE = 65000

Say = Callable[[str], None]


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    arguments = _parser().parse_args(words)
    folder: Path = arguments.folder
    try:
        if not Path("/proc/self/cmdline").exists():
            raise ClusterFault("the daemons are identified by /proc, which this system does not have: use Linux")
        if arguments.command == "status":
            return _status(folder)
        with contextlib.nullcontext() if arguments.command == "down" and not folder.exists() else _alone(folder):
            if arguments.command == "up":
                _up(folder, Wishes(arguments.ports, arguments.session_timeout, arguments.regionservers, dict(arguments.set)))
            elif arguments.command == "down":
                _down(folder)
            else:
                _reset(folder)
    except ClusterFault as fault:
        print(f"scripts/cluster: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nscripts/cluster: interrupted; started daemons run until scripts/cluster down", file=sys.stderr)
        return 130
    return 0


def _up(folder: Path, wishes: Wishes) -> None:
    begin = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - begin:6.1f} s  {text}", flush=True)

    java = find_java()
    running = Cluster(folder, read_options(folder)).running()
    options = choose(folder, wishes, running=bool(running))
    cluster = Cluster(folder, options, java, find_jars())
    cluster.make_folders()
    write_configuration(folder, options)
    save(cluster)

    hdfs = [daemon for daemon in cluster.daemons if not daemon.of_hbase]
    started = _start(cluster, hdfs, say)
    wait_for_hdfs(cluster)
    say(f"HDFS is ready: {hdfs_url(options)}")
    if not options.regionservers:
        return
    started |= _start(cluster, [daemon for daemon in cluster.daemons if daemon.of_hbase], say)
    wait_for_table(cluster, started)
    say(f"HBase is ready: ZooKeeper at {HOST}:{ports_of(options)['zookeeper']}, settings in {folder / 'alertflight.yml'}")


def _start(cluster: Cluster, daemons: Sequence[Daemon], say: Say) -> dict[str, float]:
    """Start daemons that do not run; return the time before each start, by name."""
    running, started = cluster.running(), {}
    for daemon in daemons:
        if daemon.name in running:
            pid = running[daemon.name][0]
            cluster.note(daemon.name, pid)
            say(f"{daemon.name} runs already (process {pid})")
            continue
        if daemon.name == "namenode" and not cluster.is_formatted():
            say("formatting the NameNode")
            cluster.format()
        started[daemon.name] = time.time()
        say(f"{daemon.name} started (process {cluster.start(daemon)}, port {daemon.port})")
    save(cluster)
    return started


def _down(folder: Path) -> None:
    cluster = Cluster(folder, read_options(folder))
    count = sum(map(len, cluster.running().values()))
    cluster.stop()
    forget_processes(folder)
    print(f"{count} processes ended" if count else "nothing was running", flush=True)


def _reset(folder: Path) -> None:
    _down(folder)
    for name in ("data", "logs", "tmp"):
        shutil.rmtree(folder / name, ignore_errors=True)
    _up(folder, Wishes())


def _status(folder: Path) -> int:
    cluster = Cluster(folder, read_options(folder))
    running, states = cluster.running(), []
    lines = [f"{'name':<16}{'pid':>8}  {'state':<9}{'port':>6}{'resident MB':>13}"]
    for daemon in cluster.daemons:
        pid = running.get(daemon.name, [None])[0]
        if pid is None:
            states.append("dead" if cluster.pid_file(daemon.name).exists() else "stopped")
        else:
            states.append("running" if listens(daemon.port) else "starting")
        resident = "-" if pid is None else f"{_resident(pid):.0f}"
        lines.append(f"{daemon.name:<16}{pid or '-':>8}  {states[-1]:<9}{daemon.port:>6}{resident:>13}")
    print("\n".join(lines))
    return 0 if set(states) == {"running"} else 1


def _resident(pid: int) -> float:
    """Return the resident memory of a process in MB; 0 if it has just ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), 0)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock the folder, so that one command runs at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another scripts/cluster is running in {folder}; waiting for it ...", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--folder",
        type=_folder,
        default=str(ROOT / ".cluster"),
        help="folder of the cluster (default: .cluster in the repository)",
    )
    parser = argparse.ArgumentParser(prog="scripts/cluster", description="A real HDFS and a real HBase on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser(
        "up",
        parents=[common],
        help="start what is not running, and wait until a table can be created",
        epilog="Options not given keep their values of the last `up` in that folder.",
    )
    up.add_argument("--ports", type=_ports, metavar="BASE", help="first port of a block, or `free` (default: the standard ports)")
    up.add_argument("--session-timeout", type=_positive, metavar="SECONDS", help="of ZooKeeper (default: 600)")
    up.add_argument("--regionservers", type=_number, metavar="N", help="how many (default: 2); 0: HDFS alone, no HBase")
    up.add_argument(
        "--set",
        type=_setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another property of HBase or HDFS; repeatable; an empty value removes it",
    )
    commands.add_parser("down", parents=[common], help="stop all processes; the data are kept")
    commands.add_parser("status", parents=[common], help="list the processes; exits with 0 if all run, else with 1")
    commands.add_parser("reset", parents=[common], help="down, delete the data, up again with the same options")
    return parser


def _folder(word: str) -> Path:
    folder = Path(word).resolve()
    if not re.fullmatch(r"[\w./+@-]+", str(folder), re.ASCII):
        raise argparse.ArgumentTypeError(f"HDFS does not support every character of {str(folder)!r}; use a simpler folder")
    return folder


def _ports(word: str) -> int | str:
    if word == "free":
        return word
    base = _positive(word)
    if base > HIGHEST_BASE:
        raise argparse.ArgumentTypeError(f"{base} leaves no room for the ports after it")
    return base


def _positive(word: str) -> int:
    if _number(word) == 0:
        raise argparse.ArgumentTypeError(f"{word!r} is not a positive number")
    return int(word)


def _number(word: str) -> int:
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f"{word!r} is not a number")
    return int(word)


def _setting(word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{word!r} is not of the form NAME=VALUE")
    return name, value
