// Cotangents pulled back through one step of a Rosenbrock method, the Jacobian's own derivatives included.
#pragma once

// What is asked of stages and of the derivatives at the step's start.
struct Asked {
    V F[TERMS][D];                     // of the interpolant
    V right[STAGES][D], at[STAGES][D];  // of the right-hand sides of the stages' equations; of where they evaluate dy/dt
    V start[ENTRIES + DRIFTS + D];     // of the derivatives by the state, by the time, and of dy/dt itself
    V length;                          // of h gamma
};

// What is asked of stage i: by the step's end, the interpolant and later stages.
INLINE void ask_stage(const Back& x, int i, bool inside, Asked& asked) {
#pragma GCC unroll UNROLLED
    for (int d = 0; d < D; ++d) {
        V sum = M[i] * x.ahead[d];
        if (inside)
            for (int r = 0; r < TERMS - 1; ++r) sum = sum + (S)DENSE[r][i] * asked.F[1 + r][d];
#pragma GCC unroll UNROLLED
        for (int k = i + 1; k < STAGES; ++k)
            sum = sum + GAMMA_C[k][i] * asked.right[k][d] + A[k][i] * asked.at[k][d];
        asked.right[i][d] = sum;
    }
}

INLINE void pull_stage(const Args& a, Back& x, const V* y, const Step& step, int i, bool inside, V* d_y, Asked& asked) {
    ask_stage(x, i, inside, asked);
    V* right = asked.right[i];
    solve_transposed(step.factors, right);
    const V length = (S)GAMMA * narrow(x.h);
#pragma GCC unroll 64
    for (int e = 0; e < PULLED; ++e) {
        const int place = PULLED_ENTRY[e];
        asked.start[place] = asked.start[place] + right[ENTRY_ROW[place]] * step.u[i][ENTRY_COLUMN[place]];
    }
#pragma GCC unroll 32
    for (int e = 0; e < DRIFTS; ++e)
        asked.start[ENTRIES + e] = asked.start[ENTRIES + e] + DRIFT_WEIGHT[i] * right[DRIFT[e]];
    if (CLOCK_TOO)
#pragma GCC unroll UNROLLED
        for (int d = 0; d < D; ++d) asked.length = asked.length + right[d] * step.f[i][d];
    V d_f[D];
#pragma GCC unroll UNROLLED
    for (int d = 0; d < D; ++d) d_f[d] = length * right[d];
    if (i == 0) {
#pragma GCC unroll UNROLLED
        for (int d = 0; d < D; ++d) asked.start[ENTRIES + DRIFTS + d] = d_f[d];
        return;
    }
    V at[D];
    stage_state(y, step.u, i, at);
#pragma GCC unroll UNROLLED
    for (int d = 0; d < D; ++d) asked.at[i][d] = vector(0);
    pull_at<rhs_pullback>(a, x, C[i] * x.h + x.t, C[i], at, d_f, asked.at[i]);
#pragma GCC unroll UNROLLED
    for (int d = 0; d < D; ++d) d_y[d] = d_y[d] + asked.at[i][d];
}

// Pull back through the derivatives at the step's start, which were summed up without the step's size.
INLINE void pull_start(const Args& a, Back& x, const V* y, const Step& step, Asked& asked, V* d_y) {
    const V wide = narrow(x.h), length = (S)GAMMA * wide;
    if (CLOCK_TOO) {
        V square = vector(0);
        for (int e = 0; e < ENTRIES; ++e) asked.length = asked.length + asked.start[e] * step.J[e];
        for (int e = 0; e < DRIFTS; ++e) square = square + asked.start[ENTRIES + e] * step.f_t[e];
        x.d_size = x.d_size + widen((S)GAMMA * asked.length + vector(2) * length * square);
    }
#pragma GCC unroll 64
    for (int e = 0; e < PULLED; ++e) asked.start[PULLED_ENTRY[e]] = length * asked.start[PULLED_ENTRY[e]];
    for (int e = 0; e < DRIFTS; ++e) asked.start[ENTRIES + e] = length * wide * asked.start[ENTRIES + e];
    pull_at<linearise_pullback>(a, x, x.t, 0.0, y, asked.start, d_y);
}

// Replay a step, and pull back what is asked of it and of its end.
INLINE void pull_through(const Args& a, Back& x, const V* y, W end, V* d_y) {
    V F[TERMS][D];
    Step step;
    Asked asked;
    for (int r = 0; r < TERMS; ++r) for (int d = 0; d < D; ++d) asked.F[r][d] = vector(0);
    for (int e = 0; e < ENTRIES + DRIFTS; ++e) asked.start[e] = vector(0);
    asked.length = vector(0);
    take_step(a, x.q, x.t, x.h, x.low, x.high, y, step);
    if (CLOCK_TOO) interpolant(x.h, y, step, F);
    const bool inside = gather_outputs(a, x, d_y, asked.F, CLOCK_TOO ? F : nullptr, end);
#pragma GCC unroll UNROLLED
    for (int d = 0; d < D; ++d) {
        d_y[d] = d_y[d] + x.ahead[d];  // the interpolant's first coefficient asks for the step's change only
        x.ahead[d] = x.ahead[d] + asked.F[0][d];
    }
#pragma GCC unroll UNROLLED
    for (int i = STAGES - 1; i >= 0; --i) pull_stage(a, x, y, step, i, inside, d_y, asked);
    pull_start(a, x, y, step, asked, d_y);
}
