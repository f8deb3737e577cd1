// The entries: what Python calls, on as many threads as it says.
#pragma once

#ifndef __CUDACC__
template <typename F>
static void on_threads(Long threads, F work) {
    std::vector<std::thread> others;
    for (Long i = 1; i < threads; ++i) others.emplace_back([=] { work(i); });
    work(0);
    for (auto& other : others) other.join();
}

template <typename F>
static void in_groups(const Args& a, F work) {
    on_threads(a.threads, [=, &a](Long) {
        for (Long g; (g = taken(a.counter)) * LANES < a.samples;) work(g * LANES);
    });
}

#if defined(ENTRY_WALK)
extern "C" void fused_begin(const Args* a) {
    in_groups(*a, [=](Long first) { begin(*a, first); });
}
extern "C" void fused_walk(const Args* a) {
    on_threads(a->threads, [=](Long) { walk(*a); });
}
#elif defined(ENTRY_WALK_SHARED)
extern "C" void fused_begin(const Args* a) { begin_shared(*a); }
extern "C" void fused_walk(const Args* a) {
    std::barrier<> meeting(a->threads);
    std::vector<double> errors(a->threads * ERRORS);
    std::vector<Long> finite(a->threads);
    const Team team{&meeting, a->threads, errors.data(), finite.data()};
    on_threads(a->threads, [&, a](Long me) { walk_shared(*a, team, me); });
}
extern "C" Long fused_group_bytes() { return sizeof(Group); }
#elif defined(ENTRY_WALK_GRID)
extern "C" void fused_walk(const Args* a) {
    in_groups(*a, [=](Long first) { walk_grid(*a, first); });
}
#elif defined(ENTRY_PUSH)
extern "C" void fused_push(const Args* a) {
    on_threads(a->threads, [=](Long me) { push(*a, me); });
}
extern "C" Long fused_group_bytes() { return sizeof(Onward); }
#elif defined(ENTRY_PULL)
extern "C" void fused_pull(const Args* a) {
    on_threads(a->threads, [=](Long) { pull(*a); });
}
// Sums over samples, or chunks of them, in their order.
extern "C" void fused_total(const Args* a) {
    for (Long d = 0; d < SHARED_GRADIENTS; ++d) {
        double sum = 0;
        for (Long s = 0; s < a->parts; ++s) sum += (double)a->d_p[s * SHARED_GRADIENTS + d];
        a->totals[d] = (S)sum;
    }
}
#endif
#else
// One sample a thread; a thread that is through takes the next sample. A grid may be smaller than the batch.
#define MOST_THREADS 1024
#define KERNEL(name) extern "C" __global__ void fused_##name(const __grid_constant__ Args a)
INLINE Long first_sample() { return (Long)blockIdx.x * blockDim.x + threadIdx.x; }
INLINE Long stride() { return (Long)gridDim.x * blockDim.x; }

#if defined(ENTRY_WALK)
KERNEL(begin) {
    for (Long s = first_sample(); s < a.samples; s += stride()) begin(a, s);
}
KERNEL(walk) { walk(a); }
#elif defined(ENTRY_WALK_GRID)
KERNEL(walk) {
    for (Long s = first_sample(); s < a.samples; s += stride()) walk_grid(a, s);
}
#elif defined(ENTRY_PUSH)
KERNEL(push) { push(a, first_sample()); }
#elif defined(ENTRY_PULL)
KERNEL(pull) { pull(a); }
// Sums over samples in a fixed order: a gradient's entry a block, whose threads' sums are added in pairs.
KERNEL(total) {
    __shared__ double sums[MOST_THREADS];
    const int me = threadIdx.x, threads = blockDim.x;
    double sum = 0;
    for (Long s = me; s < a.parts; s += threads) sum += (double)a.d_p[s * SHARED_GRADIENTS + blockIdx.x];
    sums[me] = sum;
    for (int half = MOST_THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (me < half && me + half < threads) sums[me] += sums[me + half];
    }
    if (me == 0) a.totals[blockIdx.x] = (S)sums[0];
}
#endif
#endif
