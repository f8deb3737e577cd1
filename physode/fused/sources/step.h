// One explicit Runge-Kutta step: stages, error, interpolant; as physode/solvers/runge_kutta.py has it.
#pragma once

#define ALL (STAGES + 1 + EXTRA)  // stages, the derivative at the end, and what only the interpolant needs
#define END STAGES                // the place of the derivative at the end
#define CARRIES 1                 // a step begins with the derivative that the one before ended with
#define LEAVES 0                  // and does not know the one that it ends with

struct Step {
    V y[D];       // at the end
    V k[ALL][D];  // derivatives
};

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
    tolerated(a, y, step.y, scale);
    for (int e = 0; e < ERRORS; ++e)
        sizes[e] = size_of([&](int d) { return wide * weighted(B_ERR[e], step.k, d) / scale[d]; });
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
    hermite(wide, y, step.y, step.k[0], step.k[END], F);
    for (int d = 0; d < D; ++d)
#pragma GCC unroll 8
        for (int r = 0; r < TERMS - 3; ++r) F[3 + r][d] = wide * weighted(D_ROWS[r], step.k, d);
}
