#!/bin/bash
# Several nodes under Slurm: sbatch deploy/slurm.sh
#
# What was tested here: that the addresses and this task's number follow from Slurm's variables (tests/training/test_strategy.py), and the
# training itself in processes on one machine. What was not: a Slurm cluster, GPUs.
#
#SBATCH --job-name=tl-keras
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
# SIGTERM two minutes before the time is up, to the tasks themselves: they write a checkpoint and end with code 143.
#SBATCH --signal=TERM@120
# Back into the queue if a node fails; --resume goes on from the newest checkpoint.
#SBATCH --requeue
#SBATCH --open-mode=append

set -u
export TF_USE_LEGACY_KERAS=1
# A TF_CONFIG from elsewhere would count for more than Slurm's variables.
unset TF_CONFIG

# --out and --train are on a file system that all nodes share. One command, run once for each task: the workers find each other by
# SLURM_PROCID and SLURM_STEP_NODELIST, at ports from 8888 on.
srun --kill-on-bad-exit=1 tl-keras train text-classification \
    --train "$HOME/data/train.csv" --out "$HOME/runs/reviews" \
    --encoder ko-en-small --batch-size 64 --strategy multi-worker --resume
code=$?

# 143: the time was up, and a checkpoint is written. Into the queue again.
if [ "$code" -eq 143 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$code"
