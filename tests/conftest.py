"""One thread a process: on a busy machine two torch threads wait for each other far longer than they compute."""

import os

import torch

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes that tests start
torch.set_num_threads(1)
