// One step of a Rosenbrock method, as physode/solvers/implicit/rosenbrock.py has it.
#pragma once

#define END 1      // the place of the derivative at the end
#define CARRIES 0  // a step evaluates its first derivative itself, with the Jacobian
#define LEAVES 0

TABLE int UNROLLED = D <= 4 ? 32 : 1;  // states whose stages are written out

struct Step {
    V y[D];                             // at the end
    V k[2][D];                          // dy/dt at the start and at the end, which nobody asks for
    V u[STAGES][D], f[STAGES][D];       // stages, and dy/dt there
    V J[ENTRIES + 1], f_t[DRIFTS + 1];  // derivatives by the state and by the time, where they are not always 0
    Factors factors;                    // of I - h gamma J
};

// A sum over the stages before the i-th.
INLINE V sum_before(int i, const S* weights, const V (*u)[D], int d) {
    V sum = vector(0);
#pragma GCC unroll UNROLLED
    for (int j = 0; j < i; ++j) sum = sum + weights[j] * u[j][d];
    return sum;
}

// Where stage i evaluates dy/dt.
INLINE void stage_state(const V* y, const V (*u)[D], int i, V* at) {
#pragma GCC unroll UNROLLED
    for (int d = 0; d < D; ++d) at[d] = y[d] + sum_before(i, A[i], u, d);
}

// Factor I - h gamma J.
INLINE void factor_shifted(V length, const V* J, Factors& m) {
#ifdef STRUCTURED
    m.exchanged = eliminate(length, J, m.lu, m.reciprocal);
    if (!m.exchanged) return;
#endif
    for (int i = 0; i < D; ++i)
#pragma GCC unroll UNROLLED
        for (int d = 0; d < D; ++d) m.lu[i][d] = vector(i == d);
#pragma GCC unroll 64
    for (int e = 0; e < ENTRIES; ++e) {
        V& entry = m.lu[ENTRY_ROW[e]][ENTRY_COLUMN[e]];
        entry = entry - length * J[e];
    }
    factor(m);
}

INLINE void take_step(const Args& a, const V* q, W t, W h, W low, W high, const V* y, Step& step) {
    const V wide = narrow(h), length = (S)GAMMA * wide, square = length * wide;
    linearise(within(t, low, high), y, a.p, q, step.f[0], step.J, step.f_t);
    factor_shifted(length, step.J, step.factors);
#pragma GCC unroll UNROLLED
    for (int i = 0; i < STAGES; ++i) {
        V* u = step.u[i];
        if (i > 0) {
            V at[D];
            stage_state(y, step.u, i, at);
            rhs(within(C[i] * h + t, low, high), at, a.p, q, step.f[i]);
        }
        V sum[D];
#pragma GCC unroll UNROLLED
        for (int d = 0; d < D; ++d) sum[d] = sum_before(i, GAMMA_C[i], step.u, d) + length * step.f[i][d];
#pragma GCC unroll 32
        for (int e = 0; e < DRIFTS; ++e) sum[DRIFT[e]] = sum[DRIFT[e]] + DRIFT_WEIGHT[i] * (square * step.f_t[e]);
        solve(step.factors, sum);
#pragma GCC unroll UNROLLED
        for (int d = 0; d < D; ++d) u[d] = sum[d];
    }
#pragma GCC unroll UNROLLED
    for (int d = 0; d < D; ++d) step.y[d] = y[d] + sum_before(STAGES, M, step.u, d);
}

INLINE void error_sizes(const Args& a, W h, const V* y, const Step& step, W* sizes) {
    V scale[D];
    tolerated(a, y, step.y, scale);
    sizes[0] = size_of([&](int d) { return weighted(ERROR, step.u, d) / scale[d]; });
}

INLINE void finish_step(const Args& a, const V* q, W t, W h, W low, W high, const V* y, Step& step) {}

INLINE void interpolant(W h, const V* y, const Step& step, V (*F)[D]) {
#pragma GCC unroll UNROLLED
    for (int d = 0; d < D; ++d) {
        F[0][d] = step.y[d] - y[d];
#pragma GCC unroll 8
        for (int r = 0; r < TERMS - 1; ++r) F[1 + r][d] = weighted(DENSE[r], step.u, d);
    }
}
