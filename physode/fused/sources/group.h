// The states of a group of samples that walk in step.
#pragma once

struct Group {
    V y[D], k[D], y_end[D], k_end[D], q[Q + 1], F[TERMS][D];
};


INLINE void load_group(const Args& a, Long g, Group& x) {
    EACH_LANE {
        const Long s = g * LANES + l < a.samples ? g * LANES + l : a.samples - 1;
        for (int d = 0; d < D; ++d) LANE(x.y[d], l) = a.y[s * D + d];
        for (int d = 0; d < D; ++d) LANE(x.k[d], l) = a.k[s * D + d];
        for (int d = 0; d < Q; ++d) LANE(x.q[d], l) = a.q[s * Q + d];
    }
}
