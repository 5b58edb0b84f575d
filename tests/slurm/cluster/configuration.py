"""The text of every configuration file of a test cluster, as functions of its settings."""

from __future__ import annotations

from pathlib import Path

from tests.slurm.cluster.settings import SRUN_PORTS, ClusterSettings, Programs

GPU_QOS = ("qos_gpu_h100-dev", "qos_gpu_h100-t3", "qos_gpu_h100-t4", "qos_gpu_h100-be")


def slurm_conf(
    settings: ClusterSettings,
    home: Path,
    port: int,
    programs: Programs,
    own_hosts: bool,
    communication: str,
    site: Path,
    site_port: int,
) -> str:
    """Tuned to schedule within a second. `site` is the home of the cluster that runs munge and slurmdbd."""
    # 22.05 wants the switch plugin named, 24.11 refuses that name
    switch = "SwitchType=switch/none" if settings.version == "22.05" else ""
    return f"""\
ClusterName={settings.name}
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={port + 10}
SrunPortRange={port + SRUN_PORTS.start}-{port + SRUN_PORTS.stop - 1}
{f"CommunicationParameters={communication}" if communication else ""}
SlurmUser={settings.user}
SlurmdUser={settings.user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={site}/run/munge.socket,cred_expire={settings.requeue_delay_s}
PluginDir={programs.plugins}
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool/%n
SlurmctldPidFile={home}/run/slurmctld.self.pid
SlurmdPidFile={home}/run/slurmd.%n.self.pid
SlurmctldLogFile={home}/log/slurmctld.log
SlurmdLogFile={home}/log/slurmd.%n.log
SlurmctldDebug=info
SlurmdDebug=info
LogTimeFormat=iso8601_ms
MailProg=/bin/true
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
{switch}
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=5
# the nodes are larger than the machine: believe the file, not the hardware
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=100000,batch_sched_delay=0,bf_interval=1,bf_continue,\
bf_max_job_test=500,default_queue_depth=500
PriorityType=priority/multifactor
PriorityWeightQOS=10000
PriorityWeightAge=0
KillWait=5
CompleteWait=0
InactiveLimit=0
MinJobAge={settings.min_job_age_s}
MaxJobCount={settings.max_job_count}
MaxArraySize={settings.max_array_size}
MessageTimeout={settings.message_timeout_s}
SlurmctldTimeout=30
SlurmdTimeout={settings.slurmd_timeout_s}
BatchStartTimeout=10
UnkillableStepTimeout=120
ReturnToService=1
JobRequeue=1
EnforcePartLimits=ALL
{_accounting(site, site_port) if settings.accounting else "AccountingStorageType=accounting_storage/none"}
{_nodes(settings, port, own_hosts)}
{_partitions(settings)}
{"JobSubmitPlugins=lua" if settings.job_submit else ""}
{settings.extra_configuration}
"""


def _accounting(site: Path, site_port: int) -> str:
    # AccountingStoragePass is not a password but the munge socket of slurmdbd's clients
    return f"""\
PreemptType=preempt/qos
PreemptMode=REQUEUE
PreemptExemptTime=00:00:00
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort={site_port + 1}
AccountingStoragePass={site}/run/munge.socket
AccountingStorageTRES=gres/gpu,gres/gpu:h100
AccountingStorageEnforce=associations,limits,qos,safe
AccountingStoreFlags=job_comment,job_env,job_script"""


def _nodes(settings: ClusterSettings, port: int, own_hosts: bool) -> str:
    gpu = f"Sockets=2 CoresPerSocket=48 RealMemory=512000 Gres=gpu:h100:{settings.gpus_per_node} Feature=h100"
    cpu = "Sockets=2 CoresPerSocket=20 RealMemory=192000 Feature=cpu"
    return "\n".join(
        f"NodeName={name} NodeHostname={name if own_hosts else 'localhost'} NodeAddr=127.0.0.1 "
        f"Port={port + 10 + index} ThreadsPerCore=1 State=UNKNOWN {gpu if name in settings.gpu_names else cpu}"
        for index, name in enumerate(settings.node_names)
    )


def _partitions(settings: ClusterSettings) -> str:
    gpu, cpu = f"gpu[1-{settings.gpu_nodes}]", f"cpu[1-{settings.cpu_nodes}]"
    allowed = f"AllowQos={','.join(GPU_QOS)} TRESBillingWeights=GRES/gpu=1.0" if settings.accounting else ""
    common = "DefaultTime=00:10:00 State=UP"
    return f"""\
PartitionName=gpu_p6 Nodes={gpu} Default=YES MaxTime=100:00:00 DefMemPerCPU=5000 {allowed} \
{common}
PartitionName=cpu_p1 Nodes={cpu} MaxTime=100:00:00 DefMemPerCPU=4000 {common}
PartitionName=prepost Nodes={cpu} MaxTime=20:00:00 DefMemPerCPU=4000 {common}"""


def slurmdbd_conf(settings: ClusterSettings, home: Path, port: int, programs: Programs) -> str:
    return f"""\
AuthType=auth/munge
AuthInfo=socket={home}/run/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={port + 1}
SlurmUser={settings.user}
PluginDir={programs.plugins}
DebugLevel=info
LogFile={home}/log/slurmdbd.log
PidFile={home}/run/slurmdbd.self.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
"""


def gres_conf(settings: ClusterSettings, home: Path) -> str:
    """Devices whose names end in the index; nothing opens them where cgroups are off."""
    return (
        f"NodeName=gpu[1-{settings.gpu_nodes}] Name=gpu Type=h100 "
        f"File={home}/dev/nvidia[0-{settings.gpus_per_node - 1}]\n"
    )


def cgroup_conf(settings: ClusterSettings) -> str:
    """Keeps slurmd from looking for systemd."""
    return "CgroupPlugin=cgroup/v1\n" if settings.version == "22.05" else "CgroupPlugin=disabled\n"


def hosts(settings: ClusterSettings) -> str:
    """What a node sees as /etc/hosts."""
    return "127.0.0.1 localhost " + " ".join(settings.node_names) + "\n"


def accounts(settings: ClusterSettings) -> str:
    """Commands for sacctmgr. slurmctld reads AllowQos once, so they come before its first start."""
    gpu = ",".join(GPU_QOS)
    preempts = f"Preempt={GPU_QOS[-1]}"
    users = "\n".join(
        f"add user {user} Account=abc@h100,abc@cpu,xyz@h100,xyz@cpu DefaultAccount=abc@h100 Cluster={settings.name}"
        for user in dict.fromkeys((settings.user, *settings.users))
    )
    qualities = "" if settings.beside else _qualities(preempts)
    return f"""\
add cluster {settings.name}
{qualities}\
add account abc@h100 xyz@h100 Description=gpu Organization=test QOS={gpu} DefaultQOS=qos_gpu_h100-t3 \
Cluster={settings.name}
add account abc@cpu xyz@cpu Description=cpu Organization=test QOS=qos_cpu-t3 DefaultQOS=qos_cpu-t3 \
Cluster={settings.name}
{users}
"""


def _qualities(preempts: str) -> str:
    return f"""\
add qos qos_gpu_h100-be set Flags=DenyOnLimit MaxWall=20:00:00 Priority=0 PreemptMode=requeue GraceTime=0
add qos qos_gpu_h100-dev set Flags=DenyOnLimit MaxWall=02:00:00 Priority=100 MaxSubmitJobsPerUser=10 {preempts}
add qos qos_gpu_h100-t3 set Flags=DenyOnLimit MaxWall=20:00:00 Priority=50 {preempts}
add qos qos_gpu_h100-t4 set Flags=DenyOnLimit MaxWall=100:00:00 Priority=40 {preempts}
add qos qos_cpu-t3 set Flags=DenyOnLimit MaxWall=20:00:00 Priority=50
"""
