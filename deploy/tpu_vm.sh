#!/bin/bash
# A TPU VM, from making it to deleting it: read it and run it line by line; it costs money as long as the VM is there.
#
# What was tested here: no TPU can be reached, so nothing of this has run on one. Rehearsed were what a TPU asks for: batches of one shape,
# no strings and no calls to the host in the training step, XLA compiling the step to the same loss
# (tests/training/test_tpu_rehearsal.py; the steps of all builders but those on ELMo, which read strings and are refused), and modules
# loaded with the local device for reading files.

set -eu
NAME=tl-keras ZONE=us-central2-b

gcloud compute tpus tpu-vm create "$NAME" --zone "$ZONE" --accelerator-type v4-8 --version tpu-vm-tf-2.18.0-pjrt
on_vm() { gcloud compute tpus tpu-vm ssh "$NAME" --zone "$ZONE" --command "$1"; }

# TensorFlow for TPUs of the same version as the VM's; it brings libtpu, by which `--strategy auto` knows the TPU.
on_vm 'pip install tl_keras tensorflow-tpu==2.18.0 -f https://storage.googleapis.com/libtpu-tf-releases/index.html'
gcloud compute tpus tpu-vm scp train.csv "$NAME:" --zone "$ZONE"

# Eight cores share a batch of 256; the length is fixed, so that the step is compiled once.
on_vm 'TF_USE_LEGACY_KERAS=1 tl-keras train text-classification --train train.csv --out run --strategy tpu --batch-size 256 --resume'
gcloud compute tpus tpu-vm scp --recurse "$NAME:run" . --zone "$ZONE"
gcloud compute tpus tpu-vm delete "$NAME" --zone "$ZONE" --quiet
