#!/bin/sh
# What needs a GPU: the same answers as on the CPU, then times beside peers. Run in the checkout, on a machine with
# PyTorch for CUDA, cuda-bindings (which comes with it) and, for peers, torchdiffeq, diffrax and jax[cuda].
set -eu
export XLA_PYTHON_CLIENT_PREALLOCATE=false # jax and PyTorch share the memory
python -m pytest -q -n 0 tests/test_cuda.py tests/fused/test_cuda_source.py
python -m benchmarks.gpu "$@"
