#!/bin/bash
# What every node has: munge with the cluster's key, and the configuration.
# shellcheck source-path=SCRIPTDIR/../boot source=plugin.sh
source "$(dirname "$0")/plugin.sh"

# Debian starts its daemons itself where there is systemd; here cm-service does, everywhere alike.
leave_to_cm() {
    [[ -d /run/systemd/system ]] || return 0
    systemctl --quiet disable --now munge.service slurmctld.service slurmd.service 2>/dev/null || true
}

install_munge() {
    install -d -m 700 -o munge -g munge /etc/munge
    write_as munge /etc/munge/munge.key 400 <"$plugin/secrets/munge.key"
    install -d -m 755 -o munge -g munge /run/munge
    install -d -m 700 -o munge -g munge /var/lib/munge /var/log/munge
    # /run is empty after a boot, and only root may make a folder in it.
    cm-service add slurm-munge -- /bin/sh -c 'install -d -m 755 -o munge -g munge /run/munge && exec setpriv --reuid=munge --regid=munge --init-groups /usr/sbin/munged --foreground'
}

# slurmctld is slurm's, slurmd is root's: what both keep lies in folders of root's, in which slurm owns its part.
make_slurms_folders() {
    install -d -m 755 -o root -g root /var/lib/slurm /var/lib/slurm/d /var/log/slurm
    find /var/lib/slurm /var/log/slurm -maxdepth 1 -type l -delete # of a time when they were slurm's
    install -d -m 755 -o slurm -g slurm /var/lib/slurm/ctld
    [[ -e /var/log/slurm/slurmctld.log ]] || install -m 640 -o slurm -g slurm /dev/null /var/log/slurm/slurmctld.log
}

# Jobs are measured every two seconds, and ended when they take more memory than they asked for.
# Each worker is listed with the size that the profile gives it: config_overrides makes slurmd believe it, though a local
# node sees the memory of the whole machine.
configure() {
    local node memory=$((CM_WORKER_MEMORY_MB - CM_WORKER_MEMORY_MB / 8 - 64))
    {
        cat <<END
# Written by the plugin slurm of cm, and written anew by it: use the settings of the plugin.
ClusterName=$CM_CLUSTER
SlurmctldHost=$CM_MASTER($CM_MASTER_IP)
SlurmUser=slurm
AuthType=auth/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation=/var/lib/slurm/ctld
SlurmdSpoolDir=/var/lib/slurm/d
SlurmctldPidFile=/run/slurm/slurmctld.pid
SlurmdPidFile=/run/slurm/slurmd.pid
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdLogFile=/var/log/slurm/slurmd.log
SlurmdTimeout=$(between 3 $((dead_after * 5 / 8)) 3600)
MessageTimeout=$(between 2 $((dead_after / 2)) 10)
KillWait=5
ReturnToService=2
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
MpiDefault=none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=$((memory / CM_WORKER_CPUS))
JobRequeue=1
END
        for node in $CM_WORKERS; do
            echo "NodeName=$node NodeAddr=$(address_of "$node") CPUs=$CM_WORKER_CPUS RealMemory=$memory State=UNKNOWN"
        done
        echo "PartitionName=$CM_SETTING_PARTITION Nodes=${CM_WORKERS// /,} Default=YES MaxTime=INFINITE State=UP"
        tr ';' '\n' <<<"$CM_SETTING_SLURM_CONF"
    } | write_file /etc/slurm/slurm.conf 644
    # Processes are tracked by /proc. Slurm loads a plugin for control groups all the same; this one looks for none.
    echo 'CgroupPlugin=cgroup/v1' | write_file /etc/slurm/cgroup.conf 644
}

case ${1:-} in
    install)
        leave_to_cm
        make_slurms_folders
        install_munge
        configure
        ;;
    join | leave)
        configure
        # The controller learns of nodes at its start only; it takes up all jobs again. slurmd reads its file anew.
        ! cm-service status slurm-slurmctld >/dev/null 2>&1 || cm-service restart slurm-slurmctld
        ! cm-service status slurm-slurmd >/dev/null 2>&1 || pkill -HUP -x slurmd
        ;;
    start | stop | status) ;;
    uninstall)
        forget_all slurm-munge
        rm -rf /etc/slurm/{slurm,cgroup}.conf /var/lib/slurm/ctld /var/lib/slurm/d /var/log/slurm /run/slurm /etc/munge/munge.key
        ;;
    *) die "all.sh: unknown verb '${1:-}'" ;;
esac
