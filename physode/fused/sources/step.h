// One explicit Runge-Kutta step: stages, error, interpolant; as physode/solvers/runge_kutta.py has it.
#pragma once

#define ALL (STAGES + 1 + EXTRA)  // stages, the derivative at the end, and what only the interpolant needs

INLINE V within(W t, W low, W high) {
    t = choose(t < low, low, t);
    return narrow(choose(t > high, high, t));
}

struct Step {
    V y[D];       // at the end
    V k[ALL][D];  // derivatives
};

template <int N>
INLINE V weighted(const double (&row)[N], const V (*k)[D], int d) {
    V sum = vector(0);
    bool begun = false;
#pragma GCC unroll 32
    for (int j = 0; j < N; ++j) {
        if (row[j] == 0.0) continue;
        sum = begun ? sum + (S)row[j] * k[j][d] : (S)row[j] * k[j][d];
        begun = true;
    }
    return sum;
}

// Stages from the first, which is known, to the state at the end.
template <int i>
INLINE void stages(const S* p, const V* q, W t, W h, W low, W high, const V* y, Step& step) {
    const V wide = narrow(h);
    if constexpr (i < STAGES) {
        V at[D];
        for (int d = 0; d < D; ++d) at[d] = y[d] + wide * weighted(A[i], step.k, d);
        rhs(within(C[i] * h + t, low, high), at, p, q, step.k[i]);
        stages<i + 1>(p, q, t, h, low, high, y, step);
    } else {
        for (int d = 0; d < D; ++d) step.y[d] = y[d] + wide * weighted(B, step.k, d);
    }
}

// From the first derivative to the state at the step's end.
INLINE void take_step(const Args& a, const V* q, W t, W h, W low, W high, const V* y, Step& step) {
    stages<1>(a.p, q, t, h, low, high, y, step);
}

// The sizes of the error estimates, in units of the tolerance.
INLINE void error_sizes(const Args& a, W h, const V* y, const Step& step, W* sizes) {
    const V wide = narrow(h);
    V scale[D];
    for (int d = 0; d < D; ++d)
        scale[d] = vector(a.atol[d]) + vector(a.rtol[d]) * larger_of(magnitude_of(y[d]), magnitude_of(step.y[d]));
    for (int e = 0; e < ERRORS; ++e) {
        W result = clocks(0);
        for (int g = 0; g < GROUPS; ++g) {
            V sum = vector(0);
            for (int d = GROUP[g]; d < GROUP[g + 1]; ++d) {
                const V part = wide * weighted(B_ERR[e], step.k, d) / scale[d];
                sum = sum + part * part;
            }
            const W size = root(widen(sum) / (double)(GROUP[g + 1] - GROUP[g]));
            result = choose(opposite(size <= result), size, result);
        }
        sizes[e] = result;
    }
}

// Two estimates count as one (Hairer, Norsett & Wanner, Solving ODEs I, Sect. II.10).
INLINE W combined(const W* sizes) {
    if (ERRORS == 1) return sizes[0];
    const W fifth = sizes[0] * sizes[0], both = fifth + 0.01 * sizes[ERRORS - 1] * sizes[ERRORS - 1];
    return fifth / root(choose(both < 1e-300, clocks(1e-300), both));
}

// The stages that only the interpolant needs, after the derivative at the end.
template <int i>
INLINE void extra_stages(const S* p, const V* q, W t, W h, W low, W high, const V* y, Step& step) {
    if constexpr (i < EXTRA) {
        const V wide = narrow(h);
        V at[D];
        for (int d = 0; d < D; ++d) at[d] = y[d] + wide * weighted(A_EXTRA[i], step.k, d);
        rhs(within(C_EXTRA[i] * h + t, low, high), at, p, q, step.k[STAGES + 1 + i]);
        extra_stages<i + 1>(p, q, t, h, low, high, y, step);
    }
}

INLINE void finish_step(const Args& a, const V* q, W t, W h, W low, W high, const V* y, Step& step) {
    extra_stages<0>(a.p, q, t, h, low, high, y, step);
}

INLINE void interpolant(W h, const V* y, const Step& step, V (*F)[D]) {
    const V wide = narrow(h);
    for (int d = 0; d < D; ++d) {
        const V change = step.y[d] - y[d], first = wide * step.k[0][d];
        F[0][d] = change;
        F[1][d] = first - change;
        F[2][d] = vector(2) * change - first - wide * step.k[STAGES][d];
#pragma GCC unroll 8
        for (int r = 0; r < TERMS - 3; ++r) F[3 + r][d] = wide * weighted(D_ROWS[r], step.k, d);
    }
}

// The interpolant's basis functions at theta.
INLINE void basis(V theta, V* phi) {
    V value = theta;
#pragma GCC unroll 8
    for (int r = 0; r < TERMS; ++r) {
        phi[r] = value;
        value = value * (r % 2 == 0 ? vector(1) - theta : theta);
    }
}
