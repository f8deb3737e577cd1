// Adaptive steps, each sample by its own clock: attempts until its end, the record of accepted steps, outputs on the way.
#pragma once

// Those in the lanes.
struct Samples {
    W t, t0, t1, direction, low, high, attempts;
    W next;  // the time of the next output; beyond any time where none is left
    W room;  // rows left in the record
    Control control;
    MW active;
    V y[D], k[D], q[Q + 1];
    Long sample[LANES], row[LANES], output[LANES];
    double* clock[LANES];
    S* node[LANES];
};

#define NEVER ((double)INFINITY)

INLINE void find_next(const Args& a, Samples& x, int l) {
    const Long j = x.output[l];
    LANE(x.next, l) = j < a.count ? output_time(a, x.sample[l], j) : LANE(x.direction, l) * NEVER;
}

INLINE void load_sample(const Args& a, Samples& x, int l, Long row) {
    const Long s = a.order[row];
    const Saved& saved = ((const Saved*)a.saved)[s];
    x.sample[l] = s;
    x.row[l] = row;
    LANE(x.room, l) = a.rows;
    x.clock[l] = a.starts + row * a.clock_by_row;
    x.node[l] = a.nodes ? a.nodes + row * a.rows * D : nullptr;
    x.output[l] = (Long)saved.output;
    const double t0 = clock_of(a.t0, a, s), t1 = clock_of(a.t1, a, s);
    LANE(x.t, l) = saved.t;
    LANE(x.t0, l) = t0;
    LANE(x.t1, l) = t1;
    LANE(x.direction, l) = t0 < t1 ? 1 : -1;
    LANE(x.low, l) = t0 < t1 ? t0 : t1;
    LANE(x.high, l) = t0 < t1 ? t1 : t0;
    find_next(a, x, l);
    LANE(x.attempts, l) = saved.accepted + saved.rejections;
    LANE(x.control.size, l) = saved.size;
    LANE(x.control.error_1, l) = saved.error_1;
    LANE(x.control.error_2, l) = saved.error_2;
    LANE(x.control.rejected, l) = saved.rejected != 0 ? -1 : 0;
    LANE(x.active, l) = -1;
    for (int d = 0; d < D; ++d) LANE(x.y[d], l) = a.y[s * D + d];
    for (int d = 0; d < D; ++d) LANE(x.k[d], l) = a.k[s * D + d];
    for (int d = 0; d < Q; ++d) LANE(x.q[d], l) = a.q[s * Q + d];
}

// The first derivative and the first size of every sample.
FUNCTION void begin(const Args& a, Long first) {
    W t, t1, low, high;
    V y[D], k[D], q[Q + 1];
    Long sample[LANES];
    EACH_LANE {
        const Long s = first + l < a.samples ? first + l : a.samples - 1;
        sample[l] = s;
        const double from = clock_of(a.t0, a, s), to = clock_of(a.t1, a, s);
        LANE(t, l) = from;
        LANE(t1, l) = to;
        LANE(low, l) = from < to ? from : to;
        LANE(high, l) = from < to ? to : from;
        for (int d = 0; d < D; ++d) LANE(y[d], l) = a.y[s * D + d];
        for (int d = 0; d < Q; ++d) LANE(q[d], l) = a.q[s * Q + d];
    }
    rhs(within(t, low, high), y, a.p, q, k);
    MW good = verdict(true);
    for (int d = 0; d < D; ++d) good = good & is_finite(widen(k[d]));
    const W span = t1 - t, length = magnitude(span);
    W size = smaller(clocks(a.first_step), length);
    if (a.first_step <= 0) {
        W d0, d1;
        start_norms(a, y, k, d0, d1);
        const W h0 = euler_size(d0, d1, length);
        size = first_size(h0, d1, start_bend(a, q, t, h0, span, low, high, y, k), length);
    }
    EACH_LANE {
        if (first + l >= a.samples) break;
        const Long s = sample[l];
        const bool ok = LANE(good, l);
        ((Saved*)a.saved)[s] = {LANE(t, l), LANE(size, l), 1, 1, 0, 0, 0, 1, ok ? 0.0 : NON_FINITE,
                                ok ? LANE(t1, l) : LANE(t, l), ok ? 1.0 : 0.0};
        for (int d = 0; d < D; ++d) a.k[s * D + d] = LANE(k[d], l);
        if (a.count) write_output(a, s, 0, y, l);
        if (!ok) blank_outputs(a, s, 1);
    }
}

// Write the outputs of the lanes that reach them in this step.
INLINE void read_outputs(const Args& a, Samples& x, MW accepted, const Attempt& attempt, const Step& step, const V (*F)[D]) {
    while (true) {
        const MW here = accepted & (x.direction * x.next <= x.direction * attempt.end);
        if (!somewhere(here)) return;
        const MV at_end = narrow_mask(x.next == attempt.end);
        const V theta = narrow((x.next - x.t) / choose(attempt.h == 0.0, clocks(1), attempt.h));
        V phi[TERMS];
        basis(theta, phi);
        V value[D];
        for (int d = 0; d < D; ++d) {
            V sum = x.y[d];
            for (int r = 0; r < TERMS; ++r) sum = sum + phi[r] * F[r][d];
            value[d] = select(at_end, step.y[d], sum);
        }
        EACH_LANE if (LANE(here, l)) {
            write_output(a, x.sample[l], x.output[l]++, value, l);
            find_next(a, x, l);
        }
    }
}

INLINE void record_step(const Args& a, Samples& x, int l, const Attempt& attempt, const V (*F)[D]) {
    double* clock = x.clock[l];
    clock[0] = LANE(x.t, l);
    clock[1] = LANE(attempt.h, l);
    clock[2] = LANE(attempt.end, l);
    x.clock[l] = clock + a.clock_by_step;
    if (S* node = x.node[l]) {
        for (int d = 0; d < D; ++d) node[d] = LANE(x.y[d], l);
        x.node[l] = node + D;
    }
    if (a.dense) {
        S* to = a.dense + (x.row[l] * a.rows + a.rows - (Long)LANE(x.room, l)) * TERMS * D;
        for (int r = 0; r < TERMS; ++r) for (int d = 0; d < D; ++d) to[r * D + d] = LANE(F[r][d], l);
    }
}

// Put a sample away: finished, failed, or out of rows.
INLINE void save_sample(const Args& a, Samples& x, int l, double status, bool active) {
    const Long s = x.sample[l];
    Saved& saved = ((Saved*)a.saved)[s];
    saved.t = LANE(x.t, l);
    saved.size = LANE(x.control.size, l);
    saved.error_1 = LANE(x.control.error_1, l);
    saved.error_2 = LANE(x.control.error_2, l);
    saved.rejected = LANE(x.control.rejected, l) ? 1 : 0;
    const double rows = a.rows - LANE(x.room, l);
    saved.accepted += rows;
    saved.rejections = LANE(x.attempts, l) - saved.accepted;
    saved.output = x.output[l];
    saved.status = status;
    saved.active = active;
    if (status != 0) {
        saved.ended = LANE(x.t, l);
        blank_outputs(a, s, x.output[l]);
    }
    a.taken[x.row[l]] = (Long)rows;
    for (int d = 0; d < D; ++d) a.y[s * D + d] = LANE(x.y[d], l);
    for (int d = 0; d < D; ++d) a.k[s * D + d] = LANE(x.k[d], l);
}

// One attempt of every lane; returns those that are through, with why in ``status``.
INLINE MW attempt_step(const Args& a, Samples& x, W& status) {
    Step step;
    const Attempt attempt = next_attempt(a, x.control, x.t, x.t1, x.active);
    for (int d = 0; d < D; ++d) step.k[0][d] = x.k[d];
    take_step(a, x.q, x.t, attempt.h, x.low, x.high, x.y, step);
    if (FSAL) rhs(within(x.t + attempt.h, x.low, x.high), step.y, a.p, x.q, step.k[END]);
    W sizes[ERRORS];
    error_sizes(a, attempt.h, x.y, step, sizes);
    const W error = combined(sizes);
    MW accepted = (error <= 1.0) & x.active;
    const MW rejected = x.active & opposite(error <= 1.0);
    x.control = next_control(a, x.control, error, attempt.size, accepted);
    x.attempts = x.attempts + choose(x.active, clocks(1), clocks(0));
    status = clocks(0);
    MW through = verdict(false);
    if (somewhere(accepted)) {
        MV broken = not_finite(step.y[0]);
        for (int d = 1; d < D; ++d) broken = broken | not_finite(step.y[d]);
        const MW overflown = accepted & widen_mask(broken);
        x.t = choose(overflown, attempt.end, x.t);
        status = choose(overflown, clocks(NON_FINITE), status);
        accepted = accepted & opposite(overflown);
        if (CARRIES && !FSAL) rhs(within(attempt.end, x.low, x.high), step.y, a.p, x.q, step.k[END]);
        V F[TERMS][D];
        if (a.dense || somewhere(accepted & (x.direction * x.next < x.direction * attempt.end))) {
            finish_step(a, x.q, x.t, attempt.h, x.low, x.high, x.y, step);
            interpolant(attempt.h, x.y, step, F);
        }
        read_outputs(a, x, accepted, attempt, step, F);
        EACH_LANE if (LANE(accepted, l)) record_step(a, x, l, attempt, F);
        x.room = x.room - choose(accepted, clocks(1), clocks(0));
        const MV moves = narrow_mask(accepted);
        for (int d = 0; d < D; ++d) {
            x.y[d] = select(moves, step.y[d], x.y[d]);
            if (CARRIES) x.k[d] = select(moves, step.k[END][d], x.k[d]);
        }
        x.t = choose(accepted, attempt.end, x.t);
        through = (accepted & (x.t == x.t1)) | overflown;
    }
    const MW going = x.active & opposite(through);
    const Underflow low = underflow(a, attempt.size, rejected, going, x.t, x.t0, x.t1);
    status = choose(low.lost, choose(is_finite(error), clocks(STEP_UNDERFLOW), clocks(NON_FINITE)), status);
    x.control.size = choose(rejected, larger(x.control.size, low.floor), x.control.size);
    const MW spent = going & opposite(low.lost) & (x.attempts >= (double)a.max_steps);
    status = choose(spent, clocks(MAX_STEPS), status);
    return through | low.lost | spent;
}

// Take samples one after another until none is left.
FUNCTION void walk(const Args& a) {
    Samples x = {};
    EACH_LANE {
        const Long row = taken(a.counter);
        if (row < a.active) load_sample(a, x, l, row);
        else LANE(x.active, l) = 0;
    }
    while (somewhere(x.active)) {
        W status;
        const MW through = attempt_step(a, x, status), leaves = x.active & (through | (x.room == 0.0));
        if (!somewhere(leaves)) continue;
        EACH_LANE {
            if (!LANE(leaves, l)) continue;
            save_sample(a, x, l, LANE(status, l), !LANE(through, l));
            const Long row = taken(a.counter);
            if (row < a.active) load_sample(a, x, l, row);
            else LANE(x.active, l) = 0;
        }
    }
}
