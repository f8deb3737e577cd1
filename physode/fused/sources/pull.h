// ACA's pass back: accepted steps replayed from the last to the first, cotangents pulled back through each.
#pragma once

struct Back {  // samples in the lanes, and what is known of their gradients so far
    W t, h, low, high, d_start, d_size;
    V ahead[D];               // dL/d(state at the step's end)
    V d_p[SHARED_GRADIENTS + 1], d_q[SAMPLE_GRADIENTS + 1];
    V q[Q + 1];
    Long sample[LANES], row[LANES], step[LANES], output[LANES];
    MW active;
};

INLINE void load_back(const Args& a, Back& x, int l, Long row) {
    const Long s = a.order[row];
    x.sample[l] = s;
    x.row[l] = row;
    x.step[l] = a.taken[row * a.taken_by_row] - 1;
    x.output[l] = a.last_output[s];
    const double t0 = clock_of(a.t0, a, s), t1 = clock_of(a.t1, a, s);
    LANE(x.low, l) = t0 < t1 ? t0 : t1;
    LANE(x.high, l) = t0 < t1 ? t1 : t0;
    LANE(x.active, l) = -1;
    for (int d = 0; d < D; ++d) LANE(x.ahead[d], l) = a.d_y[s * D + d];
    for (int d = 0; d < Q; ++d) LANE(x.q[d], l) = a.q[s * Q + d];
    for (int d = 0; d < SHARED_GRADIENTS; ++d) LANE(x.d_p[d], l) = a.d_p[s * SHARED_GRADIENTS + d];
    for (int d = 0; d < SAMPLE_GRADIENTS; ++d) LANE(x.d_q[d], l) = a.d_q[s * SAMPLE_GRADIENTS + d];
}

INLINE void save_back(const Args& a, Back& x, int l) {
    const Long s = x.sample[l];
    a.last_output[s] = x.output[l];
    for (int d = 0; d < D; ++d) a.d_y[s * D + d] = LANE(x.ahead[d], l);
    for (int d = 0; d < SHARED_GRADIENTS; ++d) a.d_p[s * SHARED_GRADIENTS + d] = LANE(x.d_p[d], l);
    for (int d = 0; d < SAMPLE_GRADIENTS; ++d) a.d_q[s * SAMPLE_GRADIENTS + d] = LANE(x.d_q[d], l);
}

// Add what the outputs in a step ask of it: at its end of ``ahead``, inside of the interpolant and of the start.
INLINE bool gather_outputs(const Args& a, Back& x, V* d_y, V (*d_F)[D], const V (*F)[D], W end) {
    bool inside = false;
    while (true) {
        W time = x.t;
        MW here = verdict(false);
        EACH_LANE {
            if (!LANE(x.active, l) || x.output[l] < 1) continue;
            const double next = output_time(a, x.sample[l], x.output[l]), sign = LANE(x.h, l) < 0 ? -1 : 1;
            if (sign * next <= sign * LANE(x.t, l)) continue;
            LANE(time, l) = next;
            LANE(here, l) = -1;
        }
        if (!any(here)) return inside;
        V asked[D];
        for (int d = 0; d < D; ++d) asked[d] = vector(0);
        EACH_LANE if (LANE(here, l)) {
            const S* from = a.cotangents + output_place(a, x.sample[l], x.output[l]) * D;
            for (int d = 0; d < D; ++d) LANE(asked[d], l) = from[d];
        }
        const MW at_end = here & (time == end);
        const MV end_mask = narrow_mask(at_end), inside_mask = narrow_mask(here & opposite(at_end));
        const W theta = (time - x.t) / choose(x.h == 0.0, clocks(1), x.h);
        const V place = narrow(theta);
        V phi[TERMS];
        basis(place, phi);
        const bool some = any(here & opposite(at_end));
        inside |= some;
        for (int d = 0; d < D; ++d) {
            x.ahead[d] = x.ahead[d] + select(end_mask, asked[d], vector(0));
            if (!some) continue;
            const V part = select(inside_mask, asked[d], vector(0));
            d_y[d] = d_y[d] + part;
            for (int r = 0; r < TERMS; ++r) d_F[r][d] = d_F[r][d] + phi[r] * part;
        }
        if (CLOCK_TOO && F != nullptr) {
            V slope[TERMS], value = vector(1), moved = vector(0);  // the basis functions' derivatives
            V before = vector(1);
            for (int r = 0; r < TERMS; ++r) {
                slope[r] = r == 0 ? vector(1)
                                  : (r % 2 == 1 ? value * (vector(1) - place) - before : value * place + before);
                value = slope[r];
                before = phi[r];
            }
            for (int d = 0; d < D; ++d) {
                const V part = select(inside_mask, asked[d], vector(0));
                V along = vector(0);
                for (int r = 0; r < TERMS; ++r) along = along + slope[r] * F[r][d];
                moved = moved + along * part;
            }
            EACH_LANE if (LANE(here, l) && !LANE(at_end, l))
                a.d_theta[output_place(a, x.sample[l], x.output[l])] = (double)LANE(moved, l);
        }
        EACH_LANE if (LANE(here, l)) --x.output[l];
    }
}

// The cotangent of a derivative at (t, y), pulled back; added to the state's, the parameters' and the clock's.
INLINE void pull_rhs(const Args& a, Back& x, W time, double node, const V* y, const V* given, V* d_y) {
    V d_t = vector(0);
    rhs_pullback(within(time, x.low, x.high), y, a.p, x.q, given, d_y, &d_t, x.d_p, x.d_q);
    if (CLOCK_TOO) {
        const W moved = choose((time >= x.low) & (time <= x.high), widen(d_t), clocks(0));
        x.d_start = x.d_start + moved;
        x.d_size = x.d_size + node * moved;
    }
}

template <int N>
INLINE void spread(const double (&row)[N], V factor_h, const V* given, V (*d_k)[D]) {
#pragma GCC unroll 32
    for (int j = 0; j < N; ++j) {
        if (row[j] == 0.0) continue;
        for (int d = 0; d < D; ++d) d_k[j][d] = d_k[j][d] + ((S)row[j] * factor_h) * given[d];
    }
}

// dL/dh through ``h * sum_j row[j] k[j]``.
template <int N>
INLINE void size_gradient(Back& x, const double (&row)[N], const V (*k)[D], const V* given) {
    if (!CLOCK_TOO) return;
    V sum = vector(0);
    for (int d = 0; d < D; ++d) sum = sum + weighted(row, k, d) * given[d];
    x.d_size = x.d_size + widen(sum);
}

template <int i>
INLINE void pull_extra(const Args& a, Back& x, const V* y, const Step& step, V (*d_k)[D], V* d_y) {
    if constexpr (i >= 0) {
        const V wide = narrow(x.h);
        V at[D], d_at[D];
        for (int d = 0; d < D; ++d) {
            at[d] = y[d] + wide * weighted(A_EXTRA[i], step.k, d);
            d_at[d] = vector(0);
        }
        pull_rhs(a, x, C_EXTRA[i] * x.h + x.t, C_EXTRA[i], at, d_k[STAGES + 1 + i], d_at);
        spread(A_EXTRA[i], wide, d_at, d_k);
        size_gradient(x, A_EXTRA[i], step.k, d_at);
        for (int d = 0; d < D; ++d) d_y[d] = d_y[d] + d_at[d];
        pull_extra<i - 1>(a, x, y, step, d_k, d_y);
    }
}

template <int i>
INLINE void pull_stages(const Args& a, Back& x, const V* y, const Step& step, V (*d_k)[D], V* d_y) {
    if constexpr (i >= 0) {
        const V wide = narrow(x.h);
        V at[D], d_at[D];
        for (int d = 0; d < D; ++d) {
            at[d] = y[d];
            if constexpr (i > 0) at[d] = at[d] + wide * weighted(A[i], step.k, d);
            d_at[d] = vector(0);
        }
        pull_rhs(a, x, C[i] * x.h + x.t, C[i], at, d_k[i], d_at);
        if constexpr (i > 0) {
            spread(A[i], wide, d_at, d_k);
            size_gradient(x, A[i], step.k, d_at);
        }
        for (int d = 0; d < D; ++d) d_y[d] = d_y[d] + d_at[d];
        pull_stages<i - 1>(a, x, y, step, d_k, d_y);
    }
}

// The interpolant's coefficients' cotangents, to the states at both ends and the derivatives.
INLINE void pull_interpolant(Back& x, const V (*d_F)[D], const Step& step, V (*d_k)[D], V* d_y) {
    const V wide = narrow(x.h);
    V d_size = vector(0);
    for (int d = 0; d < D; ++d) {
        const V change = d_F[0][d] - d_F[1][d] + vector(2) * d_F[2][d], first = d_F[1][d] - d_F[2][d];
        x.ahead[d] = x.ahead[d] + change;
        d_y[d] = d_y[d] - change;
        d_k[0][d] = d_k[0][d] + wide * first;
        d_k[STAGES][d] = d_k[STAGES][d] - wide * d_F[2][d];
        if (CLOCK_TOO) d_size = d_size + step.k[0][d] * first - step.k[STAGES][d] * d_F[2][d];
    }
    if (CLOCK_TOO) x.d_size = x.d_size + widen(d_size);
#pragma GCC unroll 8
    for (int r = 0; r < TERMS - 3; ++r) {
        spread(D_ROWS[r], wide, d_F[3 + r], d_k);
        size_gradient(x, D_ROWS[r], step.k, d_F[3 + r]);
    }
}

// Replay one step of every lane, and pull back through it.
INLINE void pull_step(const Args& a, Back& x) {
    V y[D], d_y[D], d_F[TERMS][D], F[TERMS][D];
    Step step;
    W end = x.t;
    EACH_LANE {
        if (!LANE(x.active, l)) {
            LANE(x.h, l) = 0;
            for (int d = 0; d < D; ++d) LANE(y[d], l) = 0;
            continue;
        }
        const Long i = x.step[l], at = x.row[l] * a.clock_by_row + i * a.clock_by_step;
        LANE(x.t, l) = a.starts[at];
        LANE(x.h, l) = a.sizes[at];
        LANE(end, l) = a.ends[at];
        const S* from = a.nodes + (x.row[l] * a.rows + i) * D;
        for (int d = 0; d < D; ++d) LANE(y[d], l) = from[d];
    }
    x.d_start = x.d_size = clocks(0);
    for (int d = 0; d < D; ++d) {
        d_y[d] = vector(0);
        for (int r = 0; r < TERMS; ++r) d_F[r][d] = vector(0);
    }
    V d_k[ALL][D];
    for (int j = 0; j < ALL; ++j) for (int d = 0; d < D; ++d) d_k[j][d] = vector(0);
    rhs(within(x.t, x.low, x.high), y, a.p, x.q, step.k[0]);
    take_step(a, x.q, x.t, x.h, x.low, x.high, y, step);
    bool inside;
    if (CLOCK_TOO) {
        rhs(within(x.t + x.h, x.low, x.high), step.y, a.p, x.q, step.k[STAGES]);
        finish_step(a, x.q, x.t, x.h, x.low, x.high, y, step);
        interpolant(x.h, y, step, F);
        inside = gather_outputs(a, x, d_y, d_F, F, end);
    } else {
        inside = gather_outputs(a, x, d_y, d_F, nullptr, end);
    }
    if (inside) {
        if (EXTRA > 0 && !CLOCK_TOO) {
            rhs(within(x.t + x.h, x.low, x.high), step.y, a.p, x.q, step.k[STAGES]);
            finish_step(a, x.q, x.t, x.h, x.low, x.high, y, step);
        }
        pull_interpolant(x, d_F, step, d_k, d_y);
        pull_extra<EXTRA - 1>(a, x, y, step, d_k, d_y);
        pull_rhs(a, x, x.t + x.h, 1.0, step.y, d_k[STAGES], x.ahead);
    }
    spread(B, narrow(x.h), x.ahead, d_k);
    size_gradient(x, B, step.k, x.ahead);
    for (int d = 0; d < D; ++d) d_y[d] = d_y[d] + x.ahead[d];
    pull_stages<STAGES - 1>(a, x, y, step, d_k, d_y);
    const MV moves = narrow_mask(x.active);
    for (int d = 0; d < D; ++d) x.ahead[d] = select(moves, d_y[d], x.ahead[d]);
    if (CLOCK_TOO) EACH_LANE if (LANE(x.active, l)) {
        const Long at = x.row[l] * a.rows + x.step[l];
        a.d_starts[at] = LANE(x.d_start, l);
        a.d_sizes[at] = LANE(x.d_size, l);
    }
}

FUNCTION void pull(const Args& a) {
    Back x = {};
    Long waiting = a.active;
    EACH_LANE {
        LANE(x.active, l) = 0;
        const Long row = taken(a.counter);
        if (row < waiting) load_back(a, x, l, row);
    }
    while (any(x.active)) {
        EACH_LANE while (LANE(x.active, l) && x.step[l] < 0) {
            save_back(a, x, l);
            LANE(x.active, l) = 0;
            const Long row = taken(a.counter);
            if (row < waiting) load_back(a, x, l, row);
        }
        if (!any(x.active)) return;
        pull_step(a, x);
        EACH_LANE if (LANE(x.active, l)) --x.step[l];
    }
}
