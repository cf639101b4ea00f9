"""A private, throw-away, real Slurm: munged, slurmctld and emulated slurmd nodes on this host, in a temporary folder.

Nothing needs root, systemd or the machine's own configuration; all that is needed are the Debian packages slurmctld,
slurmd, slurm-client and munge. Everything is started in the foreground as a child of this process and is gone after
`stop()`.

    with Slurm(nodes=2) as slurm:
        slurm.output("srun", "hostname")
"""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

Value = TypeVar("Value")

PROGRAMS = ("munged", "slurmctld", "slurmd", "slurmstepd", "sbatch", "srun", "scontrol", "scancel", "squeue", "sinfo")
_ADMIN_PATH = "/usr/local/sbin:/usr/sbin:/sbin"

_CONF = """\
ClusterName=bnbench-test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
AuthType=auth/munge
# A requeued job waits for as long as credentials live, two minutes unless told otherwise.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmUser={user}
SlurmdUser={user}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
# A node that does not answer is given up after this many seconds.
SlurmdTimeout=5
KillWait=3
MessageTimeout=5
TCPTimeout=1
CompleteWait=0
JobRequeue=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
{nodes}
PartitionName=main Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP PriorityTier=10 GraceTime=20
PartitionName=urgent Nodes=n[1-2] MaxTime=INFINITE State=UP PriorityTier=100 PreemptMode=OFF
PartitionName=apart Nodes=n3 MaxTime=INFINITE State=UP PriorityTier=10
"""
# Three nodes: two that sweeps share, one apart for what has to wait for a clock.
NODES = ("n1", "n2", "n3")
LOOK_SECONDS = 30.0


def missing_programs() -> list[str]:
    """What is not installed of all that a private Slurm needs."""
    path = f"{os.environ.get('PATH', '')}:{_ADMIN_PATH}"
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


class Slurm:
    """A running cluster; `environment` makes commands talk to it."""

    def __init__(self) -> None:
        """Start everything, and wait until every node is idle.

        Raises:
            RuntimeError: it does not come up; the message holds the ends of its logs.
        """
        # A short path: the name of a socket may not be longer than 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="bnslurm-"))
        self.conf = self.folder / "slurm.conf"
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "SBATCH_", "SRUN_"))},
            "SLURM_CONF": str(self.conf),
            "PATH": f"{os.environ.get('PATH', '')}:{_ADMIN_PATH}",
        }
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        with ExitStack() as undo:
            undo.callback(self.stop)
            self._start()
            undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def output(self, *command: object) -> str:
        """What a command prints, stripped.

        Raises:
            AssertionError: it fails; the message holds what it says.
        """
        done = subprocess.run(
            [str(each) for each in command],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout.strip()

    def jobs(self) -> dict[str, str]:
        """Every job that has not ended: its id, arrays element by element, and its state."""
        lines = self.output("squeue", "--noheader", "--array", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)  # type: ignore[arg-type] # two words a line

    def job(self, job_id: str) -> dict[str, str]:
        """What the controller knows of a job, key by key."""
        words = self.output("scontrol", "--oneliner", "show", "job", job_id).split()
        return dict(word.split("=", 1) for word in words if "=" in word)  # type: ignore[arg-type] # see above

    def seconds_to_next_look(self) -> float:
        """Until the controller looks for jobs at their limits again; it does so every thirty seconds."""
        return LOOK_SECONDS - (time.monotonic() - self._clock_zero) % LOOK_SECONDS

    def kill_node(self, name: str) -> None:
        """The sudden death of a node: every process on it is killed, its daemon and its jobs' included."""
        self._daemons[name].kill()
        self._daemons.pop(name).wait()
        # All at once, as far as that goes: nothing is killed before everything stands still.
        tasks = [each for each in self._processes() if f"SLURMD_NODENAME={name}" in _environment(each)]
        steps = {_parent(each) for each in tasks} & {each for each in self._processes() if _is_step(each)}
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for process in (*steps, *tasks):
                _send(process, number)

    def start_node(self, name: str) -> None:
        """A node comes (back) up."""
        self._daemons[name] = self._spawn("slurmd", "-D", "-N", name, log=name)

    def _processes(self) -> list[int]:
        """Every process of this cluster, but for this one."""
        return [each for each in _processes(f"SLURM_CONF={self.conf}") if each != os.getpid()]

    def wait_idle(self, names: tuple[str, ...] = NODES, seconds: float = 30.0) -> None:
        """Wait until nodes are up and have nothing to do."""

        def states() -> bool:
            lines = self.output("sinfo", "--noheader", "--Node", "--format=%N %t").splitlines()
            found = dict(line.split() for line in lines)  # type: ignore[arg-type] # see above
            return all(found[name] == "idle" for name in names)

        wait_for(states, seconds)

    def stop(self) -> None:
        """Cancel every job, stop every daemon, remove the folder."""
        if "slurmctld" in self._daemons:
            with suppress(AssertionError, subprocess.TimeoutExpired):
                self.output("scancel", "--user", getpass.getuser())
                wait_for(lambda: not self.jobs(), 10)
        for daemon in reversed(self._daemons.values()):
            daemon.terminate()
        for daemon in self._daemons.values():
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self._daemons.clear()

        def nothing_left() -> bool:
            for process in self._processes():
                _send(process, signal.SIGKILL)
            # What was killed a moment ago may have written once more.
            shutil.rmtree(self.folder, ignore_errors=True)
            return not self.folder.exists()

        wait_for(nothing_left, 10)

    def _start(self) -> None:
        for name in ("state", "log", *NODES):
            (self.folder / name).mkdir()
        (self.folder / "munge.key").write_bytes(secrets.token_bytes(128))
        (self.folder / "munge.key").chmod(0o400)
        host = socket.gethostname().split(".")[0]
        port, *ports = _free_ports(1 + len(NODES))
        nodes = "\n".join(
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={each} CPUs=1 RealMemory=1000 State=UNKNOWN"
            for name, each in zip(NODES, ports, strict=True)
        )
        self.conf.write_text(
            _CONF.format(folder=self.folder, host=host, port=port, user=getpass.getuser(), nodes=nodes)
        )
        munge = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munge.pid", "seed-file": "munge.seed"}
        options = [f"--{option}={self.folder / name}" for option, name in munge.items()]
        self._daemons["munged"] = self._spawn("munged", "--foreground", "--force", *options, log="munged")
        self._up((self.folder / "munge.socket").is_socket)
        self._daemons["slurmctld"] = self._spawn("slurmctld", "-D", "-i", log="slurmctld")
        self._clock_zero = time.monotonic()
        for name in NODES:
            self.start_node(name)
        self._up(self._all_idle)

    def _all_idle(self) -> bool:
        try:
            self.wait_idle(seconds=0.2)
        except AssertionError:
            return False
        return True

    def _up(self, condition: Callable[[], bool]) -> None:
        def up() -> bool:
            return condition() or any(daemon.poll() is not None for daemon in self._daemons.values())

        with suppress(AssertionError):
            wait_for(up, 20)
        if not condition():
            raise RuntimeError(f"the private Slurm did not come up:\n{self._logs()}")

    def _logs(self) -> str:
        ends = {path.name: path.read_text(errors="replace").splitlines()[-15:] for path in self.folder.glob("log/*")}
        return "\n".join(f"--- {name}\n" + "\n".join(lines) for name, lines in sorted(ends.items()))

    def _spawn(self, program: str, *arguments: str, log: str) -> subprocess.Popen[bytes]:
        path = shutil.which(program, path=self.environment["PATH"])
        assert path is not None, f"{program} is not installed"
        with (self.folder / "log" / f"{log}.out").open("ab") as file:
            return subprocess.Popen(
                [path, *arguments], env=self.environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )


def wait_for(condition: Callable[[], Value], seconds: float) -> Value:
    """The first true value of a condition.

    Raises:
        AssertionError: there is none in time.
    """
    until = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        assert time.monotonic() < until, f"waited {seconds} s in vain"
        time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _processes(variable: str) -> Iterator[int]:
    """The processes that have a variable in their environment."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and variable in _environment(int(entry.name)):
            yield int(entry.name)


def _environment(process: int) -> list[str]:
    return _read(process, "environ")


def _command(process: int) -> str:
    return " ".join(_read(process, "cmdline"))


def _read(process: int, what: str) -> list[str]:
    try:
        return Path(f"/proc/{process}/{what}").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []  # it has ended, or belongs to somebody else


def _is_step(process: int) -> bool:
    """Whether a process is the daemon that looks after one step of a job."""
    return _command(process).startswith("slurmstepd")


def _parent(process: int) -> int:
    try:
        text = Path(f"/proc/{process}/stat").read_text(errors="replace")
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[1])


def _send(process: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, number)
