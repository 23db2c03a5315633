#!/bin/bash

# Parameters
#SBATCH --account=my-project
#SBATCH --comment=evaluate-DATE
#SBATCH --cpus-per-task=8
#SBATCH --export=NONE
#SBATCH --gres=tmpdisk:100,gpu:a100:1
#SBATCH --job-name=ivr-evaluate
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --mem=240G
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output=/shared/run/jobs/evaluate-DATE/%j_0_log.out
#SBATCH --partition=gpu
#SBATCH --requeue
#SBATCH --signal=USR2@120
#SBATCH --time=720
#SBATCH --wckey=submitit

# setup
unset RANK LOCAL_RANK WORLD_SIZE MASTER_ADDR MASTER_PORT ${!SLURM_CPU_BIND*} ${!SLURM_MEM_BIND*} ${!PMI*} ${!OMPI_*}
module load cuda
export HF_HOME=/shared/cache/huggingface
export SRUN_CPUS_PER_TASK=8

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output /shared/run/jobs/evaluate-DATE/%j_%t_log.out --kill-on-bad-exit=1 --export=ALL /home/me/gpt2-ivr/.venv/bin/python -I -u -m submitit.core._submit /shared/run/jobs/evaluate-DATE


# teardown
rc=$?
id=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_}${SLURM_ARRAY_TASK_ID:-$SLURM_JOB_ID}
cd /shared/run/jobs/evaluate-DATE || exit "$rc"
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
# a task runs: ivr evaluate --artifacts-dir /shared/run

