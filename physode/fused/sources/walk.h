// Adaptive steps, each sample by its own clock: attempts until its end, the record of accepted steps, outputs on the way.
#pragma once

// Where a sample is between two launches.
struct Saved {
    double t, size, error_1, error_2, rejected, accepted, rejections, output, status, ended, active;
};

struct Samples {  // those in the lanes
    W t, t0, t1, low, high, attempts;
    Control control;
    MW active;
    V y[D], k[D], q[Q + 1];
    Long sample[LANES], row[LANES], rows[LANES], output[LANES];
};

INLINE double clock_of(const double* clock, const Args& a, Long s) { return clock[s * a.clock_by_sample]; }
INLINE double output_time(const Args& a, Long s, Long j) {
    return a.times[j * a.times_by_row + s * a.times_by_sample];
}

INLINE void write_output(const Args& a, Long s, Long j, const V* y, int l) {
    S* to = a.outputs + (s * a.count + j) * D;
    for (int d = 0; d < D; ++d) to[d] = LANE(y[d], l);
}

INLINE void load_sample(const Args& a, Samples& x, int l, Long row) {
    const Long s = a.order[row];
    const Saved& saved = ((const Saved*)a.saved)[s];
    x.sample[l] = s;
    x.row[l] = row;
    x.rows[l] = 0;
    x.output[l] = (Long)saved.output;
    const double t0 = clock_of(a.t0, a, s), t1 = clock_of(a.t1, a, s);
    LANE(x.t, l) = saved.t;
    LANE(x.t0, l) = t0;
    LANE(x.t1, l) = t1;
    LANE(x.low, l) = t0 < t1 ? t0 : t1;
    LANE(x.high, l) = t0 < t1 ? t1 : t0;
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
        if (!ok) for (Long j = 1; j < a.count; ++j)
            for (int d = 0; d < D; ++d) a.outputs[(s * a.count + j) * D + d] = NAN;
    }
}

// Write the outputs of the lanes that reach ``to``, which lie in a step.
INLINE void read_outputs(const Args& a, Samples& x, MW accepted, const Attempt& attempt, const Step& step, const V (*F)[D]) {
    const W direction = choose(x.t1 > x.t0, clocks(1), clocks(-1));
    while (true) {
        W time = x.t;
        MW here = verdict(false);
        EACH_LANE {
            if (!LANE(accepted, l) || x.output[l] >= a.count) continue;
            const double next = output_time(a, x.sample[l], x.output[l]);
            if (LANE(direction, l) * next > LANE(direction, l) * LANE(attempt.end, l)) continue;
            LANE(time, l) = next;
            LANE(here, l) = -1;
        }
        if (!any(here)) return;
        const MV at_end = narrow_mask(time == attempt.end);
        const V theta = narrow((time - x.t) / choose(attempt.h == 0.0, clocks(1), attempt.h));
        V phi[TERMS];
        basis(theta, phi);
        V value[D];
        for (int d = 0; d < D; ++d) {
            V sum = x.y[d];
            for (int r = 0; r < TERMS; ++r) sum = sum + phi[r] * F[r][d];
            value[d] = select(at_end, step.y[d], sum);
        }
        EACH_LANE if (LANE(here, l)) write_output(a, x.sample[l], x.output[l]++, value, l);
    }
}

// Whether an output lies strictly inside an accepted step of any lane.
INLINE bool has_inside(const Args& a, const Samples& x, MW accepted, const Attempt& attempt) {
    bool inside = false;
    EACH_LANE {
        if (!LANE(accepted, l) || x.output[l] >= a.count) continue;
        const double next = output_time(a, x.sample[l], x.output[l]), end = LANE(attempt.end, l);
        inside |= LANE(x.t1, l) > LANE(x.t0, l) ? next < end : next > end;
    }
    return inside;
}

INLINE void record_step(const Args& a, const Samples& x, int l, const Attempt& attempt, const V (*F)[D]) {
    const Long at = x.row[l] * a.rows + x.rows[l];
    a.starts[at] = LANE(x.t, l);
    a.sizes[at] = LANE(attempt.h, l);
    a.ends[at] = LANE(attempt.end, l);
    if (a.nodes) for (int d = 0; d < D; ++d) a.nodes[at * D + d] = LANE(x.y[d], l);
    if (a.dense) for (int r = 0; r < TERMS; ++r)
        for (int d = 0; d < D; ++d) a.dense[(at * TERMS + r) * D + d] = LANE(F[r][d], l);
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
    saved.accepted += x.rows[l];
    saved.rejections = LANE(x.attempts, l) - saved.accepted;
    saved.output = x.output[l];
    saved.status = status;
    saved.active = active;
    if (status != 0) {
        saved.ended = LANE(x.t, l);
        for (Long j = x.output[l]; j < a.count; ++j)
            for (int d = 0; d < D; ++d) a.outputs[(s * a.count + j) * D + d] = NAN;
    }
    a.taken[x.row[l]] = x.rows[l];
    for (int d = 0; d < D; ++d) a.y[s * D + d] = LANE(x.y[d], l);
    for (int d = 0; d < D; ++d) a.k[s * D + d] = LANE(x.k[d], l);
}

// One attempt of every lane; returns those that are through, with why in ``status``.
INLINE MW attempt_step(const Args& a, Samples& x, W& status) {
    Step step;
    const Attempt attempt = next_attempt(a, x.control, x.t, x.t1, x.active);
    for (int d = 0; d < D; ++d) step.k[0][d] = x.k[d];
    stages<1>(a.p, x.q, x.t, attempt.h, x.low, x.high, x.y, step);
    if (FSAL) rhs(within(x.t + attempt.h, x.low, x.high), step.y, a.p, x.q, step.k[STAGES]);
    const W error = error_ratio(a, attempt.h, x.y, step);
    MW accepted = (error <= 1.0) & x.active;
    const MW rejected = x.active & opposite(error <= 1.0);
    x.control = next_control(a, x.control, error, attempt.size, accepted);
    x.attempts = x.attempts + choose(x.active, clocks(1), clocks(0));
    status = clocks(0);
    MW through = verdict(false);
    if (any(accepted)) {
        MV broken = not_finite(step.y[0]);
        for (int d = 1; d < D; ++d) broken = broken | not_finite(step.y[d]);
        const MW overflown = accepted & widen_mask(broken);
        x.t = choose(overflown, attempt.end, x.t);
        status = choose(overflown, clocks(NON_FINITE), status);
        accepted = accepted & opposite(overflown);
        if (!FSAL) rhs(within(attempt.end, x.low, x.high), step.y, a.p, x.q, step.k[STAGES]);
        V F[TERMS][D];
        if (a.dense || has_inside(a, x, accepted, attempt)) {
            extra_stages<0>(a.p, x.q, x.t, attempt.h, x.low, x.high, x.y, step);
            interpolant(attempt.h, x.y, step, F);
        }
        read_outputs(a, x, accepted, attempt, step, F);
        EACH_LANE if (LANE(accepted, l)) {
            record_step(a, x, l, attempt, F);
            ++x.rows[l];
        }
        const MV moves = narrow_mask(accepted);
        for (int d = 0; d < D; ++d) {
            x.y[d] = select(moves, step.y[d], x.y[d]);
            x.k[d] = select(moves, step.k[STAGES][d], x.k[d]);
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
    while (any(x.active)) {
        W status;
        const MW through = attempt_step(a, x, status);
        EACH_LANE {
            if (!LANE(x.active, l)) continue;
            if (LANE(through, l)) save_sample(a, x, l, LANE(status, l), false);
            else if (x.rows[l] == a.rows) save_sample(a, x, l, 0, true);
            else continue;
            const Long row = taken(a.counter);
            if (row < a.active) load_sample(a, x, l, row);
            else LANE(x.active, l) = 0;
        }
    }
}
