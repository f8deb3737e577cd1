"""Every kind of kernel as CUDA's own compilers see it; they need no GPU."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from physode.fused import nvrtc
from physode.fused.unsupported import Unsupported

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.cuda_registers import SYSTEMS, compiled, nvcc, text

needs_nvcc = pytest.mark.skipif(nvcc() is None, reason="needs nvcc")


def _has_nvrtc() -> bool:
    try:
        nvrtc.target_of(9, 0)
    except Unsupported:
        return False
    return True


needs_nvrtc = pytest.mark.skipif(not _has_nvrtc(), reason="needs cuda-bindings and NVRTC")

KINDS = [
    (name, dtype, method, entry)
    for name in SYSTEMS
    for dtype in (torch.float32, torch.float64)
    for method in ("dopri5", "dopri8")
    for entry in ("walk", "walk_grid", "pull")
]
ENTRIES = {"walk": {"begin", "walk"}, "walk_grid": {"walk"}, "pull": {"pull", "total"}}


@needs_nvcc
@pytest.mark.parametrize("entry", ["walk", "pull"])
def test_small_kernels_compile_and_keep_a_thread_in_its_registers(entry):
    used = compiled(text("Lorenz", torch.float64, "dopri5", entry), "sm_90")
    assert set(used) == ENTRIES[entry]
    assert all((one.local, one.stores, one.loads) == (0, 0, 0) for one in used.values())


@needs_nvcc
@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize(("name", "dtype", "method", "entry"), KINDS)
def test_every_kind_of_kernel_compiles(name, dtype, method, entry, architecture):
    assert set(compiled(text(name, dtype, method, entry), architecture)) == ENTRIES[entry]


@needs_nvrtc
@pytest.mark.parametrize("entry", ["walk", "walk_grid", "pull"])
def test_kernels_compile_without_headers_of_the_host(entry, monkeypatch, tmp_path):
    monkeypatch.setenv("PHYSODE_CACHE", str(tmp_path / "kept"))
    target = nvrtc.target_of(9, 0)
    texts = [text("Lorenz", torch.float64, "dopri5", entry)]
    (image,) = nvrtc.images(texts, target)
    assert image.startswith(b"\x7fELF")
    assert nvrtc.are_kept(texts, target)
    assert nvrtc.images(texts, target) == [image]


@needs_nvrtc
@pytest.mark.slow
@pytest.mark.parametrize(("name", "dtype", "method", "entry"), KINDS)
def test_every_kind_of_kernel_compiles_without_headers_of_the_host(name, dtype, method, entry):
    assert nvrtc._compiled(text(name, dtype, method, entry), nvrtc.target_of(8, 0)).startswith(b"\x7fELF")


@needs_nvrtc
def test_what_newer_gpus_drivers_compile_on_is_text():
    image = nvrtc._compiled(text("Lorenz", torch.float32, "dopri5", "pull"), nvrtc.Target(80, native=False))
    assert b".entry fused_pull" in image
    assert image.endswith(b"\0")


@needs_nvrtc
def test_cudas_own_compiler_says_what_it_does_not_understand(caplog):
    with pytest.raises(Unsupported, match="compiler failed"):
        nvrtc._compiled("nothing that is C;", nvrtc.target_of(9, 0))
    assert "error" in caplog.text
