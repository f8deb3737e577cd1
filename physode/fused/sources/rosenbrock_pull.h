// Cotangents pulled back through one step of a Rosenbrock method, the Jacobian's own derivatives included.
#pragma once

// What is asked of the derivatives at the step's start: by the state, by the time, and dy/dt itself.
struct Asked {
    V of[ENTRIES + DRIFTS + D];
};

// Pull back through stage i; ``d_u``: what is asked of the stages.
INLINE void pull_stage(const Args& a, Back& x, const V* y, const Step& step, int i, V (*d_u)[D], V* d_y, Asked& d_start,
                       V& d_length) {
    V right[D], d_f[D];  // dL/d(right-hand side of the stage's equation)
    for (int d = 0; d < D; ++d) right[d] = d_u[i][d];
    solve_transposed(step.factors, right);
    const V length = (S)GAMMA * narrow(x.h);
#pragma GCC unroll 64
    for (int e = 0; e < PULLED; ++e) {
        V& sum = d_start.of[PULLED_ENTRY[e]];
        sum = sum + right[ENTRY_ROW[PULLED_ENTRY[e]]] * step.u[i][ENTRY_COLUMN[PULLED_ENTRY[e]]];
    }
#pragma GCC unroll 32
    for (int e = 0; e < DRIFTS; ++e)
        d_start.of[ENTRIES + e] = d_start.of[ENTRIES + e] + DRIFT_WEIGHT[i] * right[DRIFT[e]];
    if (CLOCK_TOO)
        for (int d = 0; d < D; ++d) d_length = d_length + right[d] * step.f[i][d];
    for (int j = 0; j < i; ++j)
        for (int d = 0; d < D; ++d) d_u[j][d] = d_u[j][d] + GAMMA_C[i][j] * right[d];
    for (int d = 0; d < D; ++d) d_f[d] = length * right[d];
    if (i == 0) {
        for (int d = 0; d < D; ++d) d_start.of[ENTRIES + DRIFTS + d] = d_f[d];
        return;
    }
    V at[D], d_at[D];
    stage_state(y, step.u, i, at);
    for (int d = 0; d < D; ++d) d_at[d] = vector(0);
    pull_at<rhs_pullback>(a, x, C[i] * x.h + x.t, C[i], at, d_f, d_at);
    for (int d = 0; d < D; ++d) d_y[d] = d_y[d] + d_at[d];
    for (int j = 0; j < i; ++j)
        for (int d = 0; d < D; ++d) d_u[j][d] = d_u[j][d] + A[i][j] * d_at[d];
}

// Pull back through the derivatives at the step's start, which were summed up without the step's size.
INLINE void pull_start(const Args& a, Back& x, const V* y, const Step& step, Asked& d_start, V d_length) {
    const V wide = narrow(x.h), length = (S)GAMMA * wide;
    V d_square = vector(0);
    if (CLOCK_TOO) {
        for (int e = 0; e < ENTRIES; ++e) d_length = d_length + d_start.of[e] * step.J[e];
        for (int e = 0; e < DRIFTS; ++e) d_square = d_square + d_start.of[ENTRIES + e] * step.f_t[e];
        x.d_size = x.d_size + widen((S)GAMMA * d_length + vector(2) * length * d_square);
    }
#pragma GCC unroll 64
    for (int e = 0; e < PULLED; ++e) d_start.of[PULLED_ENTRY[e]] = length * d_start.of[PULLED_ENTRY[e]];
    for (int e = 0; e < DRIFTS; ++e) d_start.of[ENTRIES + e] = length * wide * d_start.of[ENTRIES + e];
}

// Replay a step, and pull back what is asked of it and of its end.
INLINE void pull_through(const Args& a, Back& x, const V* y, W end, V* d_y) {
    V d_F[TERMS][D], F[TERMS][D], d_u[STAGES][D], d_length = vector(0);
    Step step;
    Asked d_start;
    for (int r = 0; r < TERMS; ++r) for (int d = 0; d < D; ++d) d_F[r][d] = vector(0);
    for (int e = 0; e < ENTRIES + DRIFTS; ++e) d_start.of[e] = vector(0);
    take_step(a, x.q, x.t, x.h, x.low, x.high, y, step);
    if (CLOCK_TOO) interpolant(x.h, y, step, F);
    const bool inside = gather_outputs(a, x, d_y, d_F, CLOCK_TOO ? F : nullptr, end);
    for (int d = 0; d < D; ++d) {
        d_y[d] = d_y[d] + x.ahead[d];  // the interpolant's first coefficient asks for the step's change only
        x.ahead[d] = x.ahead[d] + d_F[0][d];
    }
    for (int j = 0; j < STAGES; ++j)
        for (int d = 0; d < D; ++d) d_u[j][d] = M[j] * x.ahead[d];
    if (inside)
        for (int r = 0; r < TERMS - 1; ++r)
            for (int j = 0; j < STAGES; ++j)
                for (int d = 0; d < D; ++d) d_u[j][d] = d_u[j][d] + (S)DENSE[r][j] * d_F[1 + r][d];
#pragma GCC unroll UNROLLED
    for (int i = STAGES - 1; i >= 0; --i) pull_stage(a, x, y, step, i, d_u, d_y, d_start, d_length);
    pull_start(a, x, y, step, d_start, d_length);
    pull_at<linearise_pullback>(a, x, x.t, 0.0, y, d_start.of, d_y);
}
