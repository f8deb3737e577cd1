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
#else
extern "C" void fused_pull(const Args* a) {
    on_threads(a->threads, [=](Long) { pull(*a); });
}
// Sums over samples, in their order.
extern "C" void fused_total(const Args* a) {
    for (Long d = 0; d < SHARED_GRADIENTS; ++d) {
        double sum = 0;
        for (Long s = 0; s < a->samples; ++s) sum += (double)a->d_p[s * SHARED_GRADIENTS + d];
        a->totals[d] = (S)sum;
    }
}
#endif
#endif
