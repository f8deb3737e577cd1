// Cotangents pulled back through one step of a composition of leapfrogs.
#pragma once

// dL/dh through ``weight h`` times a half's rate of change.
INLINE void add_size(Back& x, double weight, const V* rate, const V* given) {
    if (!CLOCK_TOO) return;
    V sum = vector(0);
    for (int d = 0; d < HALF; ++d) sum = sum + rate[d] * given[d];
    x.d_size = x.d_size + weight * widen(sum);
}

// A kick of momenta by a force: what is asked of the force.
INLINE void pull_kick(Back& x, int i, const Step& step, V* d_force) {
    const V kick = narrow(KICK[i] * x.h);
    for (int d = 0; d < HALF; ++d) d_force[d] = d_force[d] + kick * x.ahead[HALF + d];
    add_size(x, KICK[i], step.force[i], x.ahead + HALF);
}

INLINE void pull_drift(const Args& a, Back& x, int i, const Step& step) {
    const V drift = narrow(DRIFT[i] * x.h);
    V d_velocity[HALF];
    for (int d = 0; d < HALF; ++d) d_velocity[d] = drift * x.ahead[d];
    add_size(x, DRIFT[i], step.velocity[i], x.ahead);
    pull_at<velocity_pullback>(a, x, x.t + DRIFT_NODE[i] * x.h, DRIFT_NODE[i], step.kicked[i], d_velocity, x.ahead);
}

// Replay a step, and pull back what is asked of it and of its end.
INLINE void pull_through(const Args& a, Back& x, const V* y, W end, V* d_y) {
    V d_F[TERMS][D], F[TERMS][D], d_k[2][D];
    Step step;
    for (int d = 0; d < D; ++d) {
        for (int r = 0; r < TERMS; ++r) d_F[r][d] = vector(0);
        d_k[0][d] = d_k[1][d] = vector(0);
    }
    force(within(x.t, x.low, x.high), y, a.p, x.q, step.k[0] + HALF);
    take_step(a, x.q, x.t, x.h, x.low, x.high, y, step);
    if (CLOCK_TOO) {
        finish_step(a, x.q, x.t, x.h, x.low, x.high, y, step);
        velocity(within(x.t + x.h, x.low, x.high), step.y, a.p, x.q, step.k[END]);
        interpolant(x.h, y, step, F);
    }
    const bool inside = gather_outputs(a, x, d_y, d_F, CLOCK_TOO ? F : nullptr, end);
    if (inside) {
        pull_hermite(x, d_F, step.k[0], step.k[END], d_k[0], d_k[END], d_y);
        pull_at<velocity_pullback>(a, x, x.t + x.h, 1.0, step.y, d_k[END], x.ahead);
    }
    V* d_force = d_k[END] + HALF;
    pull_kick(x, LEAPS, step, d_force);
#pragma GCC unroll 8
    for (int i = LEAPS - 1; i >= 0; --i) {
        pull_at<force_pullback>(a, x, x.t + KICK_NODE[i + 1] * x.h, KICK_NODE[i + 1], step.drifted[i], d_force, x.ahead);
        pull_drift(a, x, i, step);
        for (int d = 0; d < HALF; ++d) d_force[d] = i > 0 ? vector(0) : d_k[0][HALF + d];
        pull_kick(x, i, step, d_force);
    }
    pull_at<force_pullback>(a, x, x.t, 0.0, y, d_force, x.ahead);
    if (inside) pull_at<velocity_pullback>(a, x, x.t, 0.0, y, d_k[0], x.ahead);
    for (int d = 0; d < D; ++d) d_y[d] = d_y[d] + x.ahead[d];
}
