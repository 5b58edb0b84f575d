"""A real Slurm on one machine: munge, MariaDB, slurmdbd, slurmctld and a slurmd a node; no systemd, no cgroups.

All state lies under one directory, nothing listens beyond the loopback address where that can be had, and only
processes this directory knows are ever signalled. Any process may hold a `SlurmCluster` on a running one's directory.
"""

from __future__ import annotations

import json
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.slurm.cluster import configuration
from tests.slurm.cluster.processes import Processes, hosts_namespace, kill_namespaces, wait_until
from tests.slurm.cluster.settings import ClusterError, ClusterSettings, Programs, current_user, program

CLIENTS = ("sacct", "sacctmgr", "sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun")
DAEMONS = ("slurmctld", "slurmd", "slurmdbd", "slurmstepd")
NODE_SHELL = 'hostname "$1"; mount --bind "$2" /etc/hosts; shift 2; exec "$@"'
LOCALHOST_SHELL = 'hostname localhost; exec "$@"'


@dataclass(frozen=True)
class SlurmCluster:
    home: Path
    settings: ClusterSettings
    port: int
    machines: list[int] = field(default_factory=list, compare=False)
    """Open handles on the namespaces of its nodes: while one is open, no other namespace gets its number. What is
    killed by number could otherwise be a machine of another cluster, started a moment ago.
    """

    @classmethod
    def load(cls, home: Path) -> SlurmCluster:
        saved = json.loads((home / "cluster.json").read_text())
        return cls(home, ClusterSettings.from_json(saved["settings"]), saved["port"])

    @property
    def environment(self) -> dict[str, str]:
        """What makes a client, and so our own code, speak to this cluster."""
        return {
            "SLURM_CONF": str(self.home / "etc/client.conf"),
            "PATH": f"{self.home}/bin:{os.environ['PATH']}",
        }

    @property
    def processes(self) -> Processes:
        return Processes(self.home)

    def run(
        self, *command: str | Path, check: bool = True, user: str | None = None, timeout_s: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a client (`squeue`, ...) or a shell line's words against this cluster, perhaps as another unix user."""
        words = [*as_user(user or current_user()), *map(str, command)]
        result = subprocess.run(
            words,
            env=os.environ | self.environment,
            cwd=self.home / "tmp",
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and result.returncode:
            raise ClusterError(f"{shlex.join(words)}: exit {result.returncode}: {result.stderr.strip()}")
        return result

    def start(self) -> None:
        """From nothing to idle nodes, in about 2 s."""
        self._lay_out()
        if not self.settings.beside:
            self.start_daemon("munged")
        if self.settings.accounting and not self.settings.beside:
            self._create_database()
            self.start_daemon("slurmdbd")
        if self.settings.accounting:
            self._create_accounts()
        self.start_daemon("slurmctld")
        for name in self.settings.node_names:
            self.start_daemon(f"slurmd.{name}")
        self.wait_for_nodes()
        if self.settings.accounting:
            # gres/gpu is a resource the database knows only once slurmctld has registered
            self.run("sacctmgr", "-iQ", "modify", "qos", "qos_gpu_h100-dev", "set", "MaxTRESPerUser=gres/gpu=32")

    def stop(self) -> None:
        """End every process of the cluster, jobs included; the directory stays."""
        namespaces = [path.read_text() for path in (self.home / "run").glob("*.machine")]
        if not namespaces and self.processes.pid("slurmctld"):
            self._cancel_everything()
        for name in self.settings.node_names:
            self.processes.stop(f"slurmd.{name}", signal.SIGKILL)
        kill_namespaces(namespaces)
        for name in ("slurmctld", "slurmdbd", "mariadbd", "munged"):
            self.processes.stop(name, signal.SIGKILL)

    def stop_daemon(self, name: str, with_signal: signal.Signals = signal.SIGTERM) -> None:
        """TERM is an orderly outage, KILL an ugly one: slurmctld may then lose what it accepted last."""
        self.processes.stop(name, with_signal)

    def start_daemon(self, name: str) -> None:
        """`munged`, `mariadbd`, `slurmdbd`, `slurmctld` or `slurmd.<node>`; returns once it answers."""
        if self.processes.pid(name) is not None:
            return
        command, extra = self._command(name)
        preload = {"LD_PRELOAD": _without_fsync()} if name in ("mariadbd", "slurmctld") else {}
        environment = os.environ | {"SLURM_CONF": str(self.home / "etc/slurm.conf")} | extra | preload
        self.processes.spawn(name, command, environment)
        kind, _, node = name.partition(".")
        if kind == "slurmd":
            self._remember_machine(node)
        else:
            wait_until(lambda: self._answers(kind), f"{name} (logs in {self.home}/log)")

    def kill_node(self, node: str, power: bool = True) -> None:
        """`power`: the whole machine stops. Otherwise slurmd alone: its jobs run on unseen, as in a network split."""
        machine = self.home / "run" / f"{node}.machine"
        self.processes.stop(f"slurmd.{node}", signal.SIGKILL)
        if power and machine.exists():
            kill_namespaces([machine.read_text()])
            shutil.rmtree(self.home / "spool" / node, ignore_errors=True)
            (self.home / "spool" / node).mkdir()

    def start_node(self, node: str) -> None:
        self.start_daemon(f"slurmd.{node}")

    def wait_for_nodes(self) -> None:
        def ready() -> bool:
            # NodeName=gpu1 ... State=IDLE+NOT_RESPONDING: the long form tells a node that has not reported yet
            states = self.run("sinfo", "-h", "-N", "-o", "%T", check=False).stdout.split()
            return bool(states) and set(states) <= {"idle", "mixed", "allocated"}

        wait_until(ready, "idle nodes")

    def _own_machines(self) -> bool:
        """Whether nodes get their own host names, hosts file and process group to kill: root with namespaces."""
        probe = [program("unshare"), "--uts", "--mount", "true"]
        return os.geteuid() == 0 and subprocess.run(probe, capture_output=True, check=False).returncode == 0

    def _lay_out(self) -> None:
        settings, home, programs = self.settings, self.home, Programs.find(self.settings.version)
        for name in ("bin", "sbin", "etc", "run", "log", "state", "spool", "dev", "tmp", "db"):
            (home / name).mkdir(parents=True, exist_ok=True)
        home.chmod(0o755)
        (home / "tmp").chmod(0o1777)
        for name in CLIENTS:
            (home / "bin" / name).symlink_to(programs.clients / name)
        for name in DAEMONS:  # a daemon must be started under its own name, or it does not know itself
            (home / "sbin" / name).symlink_to(programs.daemon(name))
        for index in range(settings.gpus_per_node):
            (home / "dev" / f"nvidia{index}").symlink_to("/dev/null")
        (home / "etc/munge.key").touch(0o600)
        (home / "etc/munge.key").write_bytes(os.urandom(1024))
        server, client = self._communication()
        own = self._own_machines()
        site = SlurmCluster.load(Path(settings.beside)) if settings.beside else self
        shared = (settings, home, self.port, programs, own)
        texts = {
            "slurm.conf": configuration.slurm_conf(*shared, server, site.home, site.port),
            "client.conf": configuration.slurm_conf(*shared, client, site.home, site.port),
            "slurmdbd.conf": configuration.slurmdbd_conf(settings, home, self.port, programs),
            "gres.conf": configuration.gres_conf(settings, home),
            "cgroup.conf": configuration.cgroup_conf(settings),
            "hosts": configuration.hosts(settings),
            **({"job_submit.lua": settings.job_submit} if settings.job_submit else {}),
        }
        for name, text in texts.items():
            (home / "etc" / name).write_text(text)
        (home / "etc/slurmdbd.conf").chmod(0o600)
        (home / "cluster.json").write_text(json.dumps({"settings": asdict(settings), "port": self.port}))
        for name in settings.node_names:
            (home / "spool" / name).mkdir()
        if settings.user != current_user():
            for path in [home, *home.rglob("*")]:
                os.chown(path, *_ids(settings.user), follow_symlinks=False)

    def _hidden_name(self) -> bool:
        """Whether the daemons need localhost as the name of their host, to bind to loopback alone."""
        return socket.gethostbyname(socket.gethostname()) != "127.0.0.1"

    def _communication(self) -> tuple[str, str]:
        """CommunicationParameters of daemons and of clients: bind where the host name resolves, if that is loopback."""
        bound = "NoCtldInAddrAny,NoInAddrAny"
        if not self._hidden_name():
            return bound, bound
        return (bound, "NoCtldInAddrAny") if self._own_machines() else ("", "")

    def _command(self, name: str) -> tuple[list[str], dict[str, str]]:
        """Command line and extra environment of a daemon."""
        home, user = self.home, as_user(self.settings.user)
        kind, _, node = name.partition(".")
        unshare = program("unshare")
        local = (
            [unshare, "--uts", "sh", "-c", LOCALHOST_SHELL, "_"] if self._hidden_name() and self._own_machines() else []
        )
        if kind == "munged":
            files = [
                f"--{key}={home / 'run' / value}"
                for key, value in (
                    ("socket", "munge.socket"),
                    ("pid-file", "munged.self.pid"),
                    ("seed-file", "munged.seed"),
                )
            ]
            own = [f"--key-file={home}/etc/munge.key", f"--log-file={home}/log/munged.log", *files]
            return [*user, program("munged"), "--foreground", "--force", "--num-threads=4", *own], {}
        if kind == "mariadbd":
            own = [f"--datadir={home}/db", f"--socket={home}/run/mysql.sock", f"--tmpdir={home}/tmp"]
            own += [f"--pid-file={home}/run/mariadbd.self.pid", f"--user={self.settings.user}"]
            quick = ["--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--performance-schema=0"]
            quick += ["--innodb-buffer-pool-size=256M", "--innodb-lock-wait-timeout=900", "--skip-networking"]
            return [*user, program("mariadbd"), "--no-defaults", *own, *quick], {}
        if kind == "slurmdbd":
            # libmariadb takes the socket of host "localhost" from this variable
            return [*local, *user, f"{home}/sbin/slurmdbd", "-D"], {"MYSQL_UNIX_PORT": f"{home}/run/mysql.sock"}
        if kind == "slurmctld":
            return [*local, *user, f"{home}/sbin/slurmctld", "-D"], {}
        machine = [unshare, "--uts", "--mount", "--propagation", "slave", "sh", "-c", NODE_SHELL, "_", node]
        prefix = [*machine, f"{home}/etc/hosts"] if self._own_machines() else []
        return [*prefix, *user, f"{home}/sbin/slurmd", "-D", "-d", f"{home}/sbin/slurmstepd", "-N", node], {}

    def _answers(self, kind: str) -> bool:
        if kind == "munged":
            return (self.home / "run/munge.socket").is_socket()
        asked = {
            "mariadbd": [*self._sql(), "select 1"],
            "slurmdbd": ["sacctmgr", "-n", "show", "cluster"],
            "slurmctld": ["scontrol", "ping"],
        }[kind]
        return self.run(*asked, check=False).returncode == 0

    def _remember_machine(self, node: str) -> None:
        pid = self.processes.pid(f"slurmd.{node}")
        if pid is None or not self._own_machines():
            return
        ours = hosts_namespace(os.getpid())
        wait_until(lambda: hosts_namespace(pid) != ours, f"the namespace of {node}", every_s=0.005)
        self.machines.append(os.open(f"/proc/{pid}/ns/uts", os.O_RDONLY | os.O_CLOEXEC))
        (self.home / "run" / f"{node}.machine").write_text(hosts_namespace(pid))

    def _sql(self) -> Sequence[str]:
        return [program("mariadb"), "--no-defaults", f"--socket={self.home}/run/mysql.sock", "-u", "root", "-e"]

    def _create_database(self) -> None:
        install = ["mariadb-install-db", "--no-defaults", f"--datadir={self.home}/db"]
        install += ["--skip-test-db", "--auth-root-authentication-method=normal", f"--user={self.settings.user}"]
        environment = [f"LD_PRELOAD={_without_fsync()}", f"TMPDIR={self.home}/tmp"]
        self.run("env", *environment, *install, user=self.settings.user)
        self.start_daemon("mariadbd")
        grant = "grant all on slurm_acct_db.* to slurm@localhost identified by 'slurm'"
        self.run(*self._sql(), f"create database slurm_acct_db; {grant}")

    def _create_accounts(self) -> None:
        commands = self.home / "etc/accounts.sacctmgr"
        commands.write_text(configuration.accounts(self.settings))
        self.run("sh", "-c", f"sacctmgr -i < {shlex.quote(str(commands))}", user=self.settings.user)

    def _cancel_everything(self) -> None:
        """Without machines to switch off, the jobs have to be asked to go."""
        self.run("scancel", "--quiet", f"--user={self.settings.user}", check=False)
        wait_until(lambda: not self.run("squeue", "-h", "-t", "R,CG,S,CF", check=False).stdout, "jobs to end", 60)


def _ids(user: str) -> tuple[int, int]:
    entry = pwd.getpwnam(user)
    return entry.pw_uid, entry.pw_gid


def as_user(user: str) -> list[str]:
    """Prefix that runs a command as another unix user; empty for ourselves."""
    if user == current_user():
        return []
    uid, gid = _ids(user)
    return [program("setpriv"), f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]


def _without_fsync() -> str:
    """A library that makes fsync free: most of a database's first start. Empty where it is not installed."""
    return str(next(Path("/usr/lib").glob("*/libeatmydata.so"), ""))
