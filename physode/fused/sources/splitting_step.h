// One step of a composition of leapfrogs, as physode/solvers/symplectic/splitting.py has it.
#pragma once

#define HALF (D / 2)  // positions come first, momenta follow
#define END 1         // the place of the derivative at the end
#define CARRIES 1     // the last force is the next step's first one,
#define LEAVES 1      // the only part of the derivatives that a step asks for

struct Step {
    V y[D];                                         // at the end
    V k[2][D];                                      // derivatives at the start and at the end
    V kicked[LEAPS][D], drifted[LEAPS][D];          // states on the way
    V velocity[LEAPS][HALF], force[LEAPS + 1][HALF];
};

INLINE void take_step(const Args& a, const V* q, W t, W h, W low, W high, const V* y, Step& step) {
    for (int d = 0; d < D; ++d) step.y[d] = y[d];
    for (int d = 0; d < HALF; ++d) step.force[0][d] = step.k[0][HALF + d];
#pragma GCC unroll 8
    for (int i = 0; i < LEAPS; ++i) {
        const V kick = narrow(KICK[i] * h), drift = narrow(DRIFT[i] * h);
        for (int d = 0; d < HALF; ++d) step.y[HALF + d] = step.y[HALF + d] + kick * step.force[i][d];
        for (int d = 0; d < D; ++d) step.kicked[i][d] = step.y[d];
        velocity(within(t + DRIFT_NODE[i] * h, low, high), step.y, a.p, q, step.velocity[i]);
        for (int d = 0; d < HALF; ++d) step.y[d] = step.y[d] + drift * step.velocity[i][d];
        for (int d = 0; d < D; ++d) step.drifted[i][d] = step.y[d];
        force(within(t + KICK_NODE[i + 1] * h, low, high), step.y, a.p, q, step.force[i + 1]);
    }
    const V kick = narrow(KICK[LEAPS] * h);
    for (int d = 0; d < HALF; ++d) {
        step.y[HALF + d] = step.y[HALF + d] + kick * step.force[LEAPS][d];
        step.k[END][HALF + d] = step.force[LEAPS][d];
    }
}

// The interpolant asks for the velocity at the start as well.
INLINE void finish_step(const Args& a, const V* q, W t, W h, W low, W high, const V* y, Step& step) {
    velocity(within(t, low, high), y, a.p, q, step.k[0]);
}

INLINE void interpolant(W h, const V* y, const Step& step, V (*F)[D]) {
    hermite(narrow(h), y, step.y, step.k[0], step.k[END], F);
}
