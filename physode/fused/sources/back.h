// Samples on their way back: what is asked of their steps, and their gradients so far.
#pragma once

// Matrices' gradients are too many for every sample to have its own: chunks of samples, always the same ones, share them.
#if SHARED_GRADIENTS > SINGLE_GRADIENTS && !defined(__CUDACC__)
#define BY_CHUNKS
#endif

struct Back {  // samples in the lanes, and what is known of their gradients so far
    W t, h, low, high, d_start, d_size;
    V ahead[D];               // dL/d(state at the step's end)
    V d_p[SINGLE_GRADIENTS + 1], d_q[SAMPLE_GRADIENTS + 1];
    S* d_m;                   // gradients by whole matrices, of all lanes together
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
#ifndef BY_CHUNKS
    for (int d = 0; d < SINGLE_GRADIENTS; ++d) LANE(x.d_p[d], l) = a.d_p[s * SHARED_GRADIENTS + d];
    x.d_m = a.d_p + s * SHARED_GRADIENTS + SINGLE_GRADIENTS;
#endif
    for (int d = 0; d < SAMPLE_GRADIENTS; ++d) LANE(x.d_q[d], l) = a.d_q[s * SAMPLE_GRADIENTS + d];
}

INLINE void save_back(const Args& a, Back& x, int l) {
    const Long s = x.sample[l];
    a.last_output[s] = x.output[l];
    for (int d = 0; d < D; ++d) a.d_y[s * D + d] = LANE(x.ahead[d], l);
#ifndef BY_CHUNKS
    for (int d = 0; d < SINGLE_GRADIENTS; ++d) a.d_p[s * SHARED_GRADIENTS + d] = LANE(x.d_p[d], l);
#endif
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
        if (!somewhere(here)) return inside;
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
        const bool some = somewhere(here & opposite(at_end));
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

// dL/d(time) of an evaluation at the step's ``node``; outside of the span time is held.
INLINE void add_clock(Back& x, W time, double node, V d_t) {
    if (!CLOCK_TOO) return;
    const W moved = choose((time >= x.low) & (time <= x.high), widen(d_t), clocks(0));
    x.d_start = x.d_start + moved;
    x.d_size = x.d_size + node * moved;
}

// What is asked of values at (t, y), pulled back by ``back``: added to the state's, the parameters' and the clock's.
template <auto back>
INLINE void pull_at(const Args& a, Back& x, W time, double node, const V* y, const V* given, V* d_y) {
    V d_t = vector(0);
    back(within(time, x.low, x.high), y, a.p, x.q, given, d_y, &d_t, x.d_p, x.d_q, x.d_m);
    add_clock(x, time, node, d_t);
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

// The cotangents of a Hermite interpolant's coefficients, to the states at both ends and the derivatives there.
INLINE void pull_hermite(Back& x, const V (*d_F)[D], const V* k, const V* k_end, V* d_k, V* d_k_end, V* d_y) {
    const V wide = narrow(x.h);
    V d_size = vector(0);
    for (int d = 0; d < D; ++d) {
        const V change = d_F[0][d] - d_F[1][d] + vector(2) * d_F[2][d], first = d_F[1][d] - d_F[2][d];
        x.ahead[d] = x.ahead[d] + change;
        d_y[d] = d_y[d] - change;
        d_k[d] = d_k[d] + wide * first;
        d_k_end[d] = d_k_end[d] - wide * d_F[2][d];
        if (CLOCK_TOO) d_size = d_size + k[d] * first - k_end[d] * d_F[2][d];
    }
    if (CLOCK_TOO) x.d_size = x.d_size + widen(d_size);
}
