#!/bin/bash

# Parameters
#SBATCH --comment=train-DATE
#SBATCH --cpus-per-task=12
#SBATCH --dependency=afterok:17:18
#SBATCH --exclusive
#SBATCH --gpus-per-node=8
#SBATCH --job-name=ivr-train
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --mem=0
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=8
#SBATCH --open-mode=append
#SBATCH --output=/shared/run/jobs/train-DATE/%j_0_log.out
#SBATCH --partition=gpu
#SBATCH --requeue
#SBATCH --signal=USR2@300
#SBATCH --time=1440
#SBATCH --wckey=submitit

# setup
unset RANK LOCAL_RANK WORLD_SIZE MASTER_ADDR MASTER_PORT ${!SLURM_CPU_BIND*} ${!SLURM_MEM_BIND*} ${!PMI*} ${!OMPI_*}
export SRUN_CPUS_PER_TASK=12

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output /shared/run/jobs/train-DATE/%j_%t_log.out --kill-on-bad-exit=1 --export=ALL apptainer exec --nv --bind /shared/corpora:/shared/corpora:ro --bind /shared/run --bind /home/me/gpt2-ivr --pwd /home/me/gpt2-ivr /shared/images/gpt2-ivr.sif python -I -u -m submitit.core._submit /shared/run/jobs/train-DATE


# teardown
rc=$?
id=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_}${SLURM_ARRAY_TASK_ID:-$SLURM_JOB_ID}
cd /shared/run/jobs/train-DATE || exit "$rc"
if [ -e "$id.again" ]; then
  rm -f "$id.again"
  if [ "${SLURM_RESTART_COUNT:-0}" -ge 100 ]; then
    echo "ivr: job $id has been requeued 100 times (max_requeues of the profile); no more" >&2
  elif scontrol requeue "$SLURM_JOB_ID"; then
    echo "ivr: job $id is queued again" >&2
    exit 0
  else
    echo "ivr: Slurm does not requeue job $id; submit the stage again, it goes on from what was saved" >&2
  fi
fi
echo "$rc" > "$id.exit"
exit "$rc"
# a task runs: ivr train --max-steps 2000 --artifacts-dir /shared/run

