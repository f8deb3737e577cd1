#!/bin/sh
# What needs a GPU, in pieces of some minutes each: see `benchmarks/gpu.sh --help`. Pieces that are done are not done
# again, trainings go on after their last epoch: the same command goes on. Results (Markdown and JSON, which
# docs/reproduction.py takes in) go to $OUT, or to build/gpu/results.
#
# Run from anywhere on a machine with PyTorch for CUDA, cuda-bindings (which comes with it), SciPy, h5py and Matplotlib;
# for peers, torchdiffeq, diffrax and jax[cuda]; and what single pieces need: pytest and hypothesis, Pillow, MuJoCo,
# scikit-learn. A piece whose packages are missing is left out with a line. physode need not be installed.
set -eu
cd "$(dirname "$0")/.."
export XLA_PYTHON_CLIENT_PREALLOCATE=false # jax and PyTorch share the memory
python=${PYTHON:-python3}
if ! "$python" -c 'import physode.cli, physode.datasets' 2>/dev/null; then
  # cli/ and datasets/ install inside physode: a folder of links has all three as an installation has them
  mkdir -p build/site/physode
  for part in physode/* cli datasets; do ln -sfn "$PWD/$part" "build/site/physode/$(basename "$part")"; done
  PYTHONPATH="$PWD/build/site:$PWD${PYTHONPATH:+:$PYTHONPATH}"
  export PYTHONPATH PYTHONSAFEPATH=1 # else -m puts this folder, and its physode without them, first
fi
exec "$python" -m benchmarks.gpu_pieces "$@"
