// ACA's pass back: accepted steps replayed from the last to the first, cotangents pulled back through each.
#pragma once

// Replay one step of every lane, and pull back through it.
INLINE void pull_step(const Args& a, Back& x) {
    V y[D], d_y[D];
    W end = x.t;
    int busy = 0;
    EACH_LANE {
        if (!LANE(x.active, l)) continue;
        busy = l;
        const Long i = x.step[l], at = x.row[l] * a.clock_by_row + i * a.clock_by_step;
        LANE(x.t, l) = a.starts[at];
        LANE(x.h, l) = a.sizes[at];
        LANE(end, l) = a.ends[at];
        const S* from = a.nodes + (x.row[l] * a.rows + i) * D;
        for (int d = 0; d < D; ++d) LANE(y[d], l) = from[d];
    }
    // Idle lanes stand still where a busy one is: f exists there, so that 0 is all that they add to what lanes share.
    EACH_LANE if (!LANE(x.active, l)) {
        LANE(x.t, l) = LANE(end, l) = LANE(x.t, busy);
        LANE(x.h, l) = 0;
        LANE(x.low, l) = LANE(x.low, busy);
        LANE(x.high, l) = LANE(x.high, busy);
        for (int d = 0; d < D; ++d) LANE(y[d], l) = LANE(y[d], busy);
        for (int d = 0; d < Q; ++d) LANE(x.q[d], l) = LANE(x.q[d], busy);
    }
    x.d_start = x.d_size = clocks(0);
    for (int d = 0; d < D; ++d) d_y[d] = vector(0);
    pull_through(a, x, y, end, d_y);
    const MV moves = narrow_mask(x.active);
    for (int d = 0; d < D; ++d) x.ahead[d] = select(moves, d_y[d], x.ahead[d]);
    if (CLOCK_TOO) EACH_LANE if (LANE(x.active, l)) {
        const Long at = x.row[l] * a.rows + x.step[l];
        a.d_starts[at] = LANE(x.d_start, l);
        a.d_sizes[at] = LANE(x.d_size, l);
    }
}

#ifdef BY_CHUNKS
FUNCTION void pull_chunk(const Args& a, Long chunk) {
    S* gradient = a.d_p + chunk * SHARED_GRADIENTS;
    const Long last = (chunk + 1) * a.chunk < a.active ? (chunk + 1) * a.chunk : a.active;
    for (Long first = chunk * a.chunk; first < last; first += LANES) {
        Back x = {};
        x.d_m = gradient + SINGLE_GRADIENTS;
        EACH_LANE if (first + l < last) load_back(a, x, l, first + l);
        const MW there = x.active;
        while (true) {
            EACH_LANE if (x.step[l] < 0) LANE(x.active, l) = 0;
            if (!somewhere(x.active)) break;
            pull_step(a, x);
            EACH_LANE if (LANE(x.active, l)) --x.step[l];
        }
        EACH_LANE if (LANE(there, l)) save_back(a, x, l);
        for (int d = 0; d < SINGLE_GRADIENTS; ++d) {
            double sum = gradient[d];
            EACH_LANE sum += LANE(x.d_p[d], l);
            gradient[d] = (S)sum;
        }
    }
}

FUNCTION void pull(const Args& a) {
    for (Long chunk; (chunk = taken(a.counter)) * a.chunk < a.active;) pull_chunk(a, chunk);
}
#else
FUNCTION void pull(const Args& a) {
    Back x = {};
    Long waiting = a.active;
    EACH_LANE {
        LANE(x.active, l) = 0;
        const Long row = taken(a.counter);
        if (row < waiting) load_back(a, x, l, row);
    }
    while (somewhere(x.active)) {
        EACH_LANE while (LANE(x.active, l) && x.step[l] < 0) {
            save_back(a, x, l);
            LANE(x.active, l) = 0;
            const Long row = taken(a.counter);
            if (row < waiting) load_back(a, x, l, row);
        }
        if (!somewhere(x.active)) return;
        pull_step(a, x);
        EACH_LANE if (LANE(x.active, l)) --x.step[l];
    }
}
#endif
