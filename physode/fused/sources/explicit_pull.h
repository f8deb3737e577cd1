// Cotangents pulled back through one explicit Runge-Kutta step.
#pragma once

template <int i>
INLINE void pull_extra(const Args& a, Back& x, const V* y, const Step& step, V (*d_k)[D], V* d_y) {
    if constexpr (i >= 0) {
        const V wide = narrow(x.h);
        V at[D], d_at[D];
        for (int d = 0; d < D; ++d) {
            at[d] = y[d] + wide * weighted(A_EXTRA[i], step.k, d);
            d_at[d] = vector(0);
        }
        pull_at<rhs_pullback>(a, x, C_EXTRA[i] * x.h + x.t, C_EXTRA[i], at, d_k[STAGES + 1 + i], d_at);
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
        pull_at<rhs_pullback>(a, x, C[i] * x.h + x.t, C[i], at, d_k[i], d_at);
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
    pull_hermite(x, d_F, step.k[0], step.k[END], d_k[0], d_k[END], d_y);
#pragma GCC unroll 8
    for (int r = 0; r < TERMS - 3; ++r) {
        spread(D_ROWS[r], wide, d_F[3 + r], d_k);
        size_gradient(x, D_ROWS[r], step.k, d_F[3 + r]);
    }
}

// Replay a step, and pull back what is asked of it and of its end.
INLINE void pull_through(const Args& a, Back& x, const V* y, W end, V* d_y) {
    V d_F[TERMS][D], F[TERMS][D];
    Step step;
    for (int d = 0; d < D; ++d) for (int r = 0; r < TERMS; ++r) d_F[r][d] = vector(0);
    V d_k[ALL][D];
    for (int j = 0; j < ALL; ++j) for (int d = 0; d < D; ++d) d_k[j][d] = vector(0);
    rhs(within(x.t, x.low, x.high), y, a.p, x.q, step.k[0]);
    take_step(a, x.q, x.t, x.h, x.low, x.high, y, step);
    bool inside;
    if (CLOCK_TOO) {
        rhs(within(x.t + x.h, x.low, x.high), step.y, a.p, x.q, step.k[END]);
        finish_step(a, x.q, x.t, x.h, x.low, x.high, y, step);
        interpolant(x.h, y, step, F);
        inside = gather_outputs(a, x, d_y, d_F, F, end);
    } else {
        inside = gather_outputs(a, x, d_y, d_F, nullptr, end);
    }
    if (inside) {
        if (EXTRA > 0 && !CLOCK_TOO) {
            rhs(within(x.t + x.h, x.low, x.high), step.y, a.p, x.q, step.k[END]);
            finish_step(a, x.q, x.t, x.h, x.low, x.high, y, step);
        }
        pull_interpolant(x, d_F, step, d_k, d_y);
        pull_extra<EXTRA - 1>(a, x, y, step, d_k, d_y);
        pull_at<rhs_pullback>(a, x, x.t + x.h, 1.0, step.y, d_k[END], x.ahead);
    }
    spread(B, narrow(x.h), x.ahead, d_k);
    size_gradient(x, B, step.k, x.ahead);
    for (int d = 0; d < D; ++d) d_y[d] = d_y[d] + x.ahead[d];
    pull_stages<STAGES - 1>(a, x, y, step, d_k, d_y);
}
