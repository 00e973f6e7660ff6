#!/bin/bash
# A batch job of Python tasks, one on each worker, counts the primes below 20,000 in parts; the sum must be 2262.
# shellcheck source-path=SCRIPTDIR/../../boot source=plugin.sh
source "$(dirname "$0")/../plugin.sh"

count=$(wc -w <<<"$CM_WORKERS")
job=$(
    as slurm sbatch --parsable --nodes="$count" --ntasks="$count" --ntasks-per-node=1 --mem=64 --chdir=/tmp --output=/dev/null <<'END'
#!/bin/bash
set -euo pipefail
srun python3 -c '
import os, socket
part, parts = int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_NTASKS"])
prime = lambda n: n > 1 and all(n % d for d in range(2, int(n ** 0.5) + 1))
print(socket.gethostname(), sum(map(prime, range(part, 20000, parts))))' |
    awk -v nodes="$SLURM_NNODES" '{ hosts[$1]; sum += $2 } END { for (host in hosts) n++; exit !(n == nodes && sum == 2262) }'
END
)
state() { scontrol show job "$job" | sed -n 's/.*JobState=\([A-Z_]*\).*/\1/p'; }
ended() { [[ ! $(state) =~ ^(PENDING|CONFIGURING|RUNNING|COMPLETING)$ ]]; }
# `sbatch --wait` looks every few seconds only.
wait_with slurm-slurmctld 100 "job $job ends" ended
[[ $(state) == COMPLETED ]] || die "job $job: $(state)"
say "job $job counted 2262 primes on $count nodes"
