// Adaptive steps by one clock for all samples: the largest error decides.
#pragma once

INLINE double most(W x, double before) {
    EACH_LANE if (before == before && !(LANE(x, l) <= before)) before = LANE(x, l);  // NaN is the largest, and stays
    return before;
}

// One attempt of a group; ``errors`` become the largest so far.
INLINE void attempt_group(const Args& a, Group& x, W t, const Attempt& attempt, W low, W high, bool interpolated,
                          double* errors) {
    Step step;
    for (int d = 0; d < D; ++d) step.k[0][d] = x.k[d];
    take_step(a, x.q, t, attempt.h, low, high, x.y, step);
    if (FSAL || (CARRIES && interpolated)) rhs(within(t + attempt.h, low, high), step.y, a.p, x.q, step.k[END]);
    W sizes[ERRORS];
    error_sizes(a, attempt.h, x.y, step, sizes);
    for (int e = 0; e < ERRORS; ++e) errors[e] = most(sizes[e], errors[e]);
    for (int d = 0; d < D; ++d) {
        x.y_end[d] = step.y[d];
        if (CARRIES) x.k_end[d] = step.k[END][d];
    }
    if (interpolated) {
        finish_step(a, x.q, t, attempt.h, low, high, x.y, step);
        interpolant(attempt.h, x.y, step, x.F);
    }
}

INLINE void read_group(const Args& a, const Group& x, Long first, Long j, double theta, bool at_end) {
    V phi[TERMS], value[D];
    basis(vector((S)theta), phi);
    for (int d = 0; d < D; ++d) {
        value[d] = x.y[d];
        for (int r = 0; r < TERMS; ++r) value[d] = value[d] + phi[r] * x.F[r][d];
        if (at_end) value[d] = x.y_end[d];
    }
    EACH_LANE if (first + l < a.samples) write_output(a, first + l, j, value, l);
}

// Go on by an accepted step; returns whether the state is finite.
INLINE bool advance_group(const Args& a, Group& x, Long first, Long row, double t, double h, double end, Long from, Long to) {
    EACH_LANE {
        if (first + l >= a.samples) break;
        const Long at = (first + l) * a.rows + row;
        if (a.nodes) for (int d = 0; d < D; ++d) a.nodes[at * D + d] = LANE(x.y[d], l);
        if (a.dense) for (int r = 0; r < TERMS; ++r)
            for (int d = 0; d < D; ++d) a.dense[(at * TERMS + r) * D + d] = LANE(x.F[r][d], l);
    }
    for (Long j = from; j < to; ++j) {
        const double time = output_time(a, 0, j);
        read_group(a, x, first, j, h == 0 ? 0 : (time - t) / h, time == end);
    }
    MV broken = narrow_mask(verdict(false));
    for (int d = 0; d < D; ++d) {
        x.y[d] = x.y_end[d];
        if (CARRIES) x.k[d] = x.k_end[d];
        broken = broken | not_finite(x.y[d]);
    }
    return !somewhere(widen_mask(broken));
}

INLINE void fill_unreached(const Args& a, Long from) {
    for (Long s = 0; s < a.samples; ++s) blank_outputs(a, s, from);
}

// The first derivatives and the first size, which the largest norms of all samples decide.
FUNCTION void begin_shared(const Args& a) {
    const Long groups = (a.samples + LANES - 1) / LANES;
    const double t0 = a.t0[0], t1 = a.t1[0];
    const W low = clocks(t0 < t1 ? t0 : t1), high = clocks(t0 < t1 ? t1 : t0), span = clocks(t1 - t0);
    Group x;
    double d0 = 0, d1 = 0, d2 = 0;
    bool good = true;
    for (Long g = 0; g < groups; ++g) {
        load_group(a, g, x);
        rhs(within(clocks(t0), low, high), x.y, a.p, x.q, x.k);
        W y_norm, k_norm;
        start_norms(a, x.y, x.k, y_norm, k_norm);
        d0 = most(y_norm, d0);
        d1 = most(k_norm, d1);
        for (int d = 0; d < D; ++d) good = good && !somewhere(widen_mask(not_finite(x.k[d])));
        EACH_LANE {
            if (g * LANES + l >= a.samples) break;
            for (int d = 0; d < D; ++d) a.k[(g * LANES + l) * D + d] = LANE(x.k[d], l);
            if (a.count) write_output(a, g * LANES + l, 0, x.y, l);
        }
    }
    double size = magnitude(span)[0];
    if (a.first_step > 0) {
        size = a.first_step < size ? a.first_step : size;
    } else {
        const W h0 = euler_size(clocks(d0), clocks(d1), clocks(size));
        for (Long g = 0; g < groups; ++g) {
            load_group(a, g, x);
            d2 = most(start_bend(a, x.q, clocks(t0), h0, span, low, high, x.y, x.k), d2);
        }
        size = first_size(h0, clocks(d1), clocks(d2), clocks(size))[0];
    }
    *(Saved*)a.saved = {t0, size, 1, 1, 0, 0, 0, 1, good ? 0.0 : NON_FINITE, good ? t1 : t0, good ? 1.0 : 0.0};
    if (!good) fill_unreached(a, a.count ? 1 : 0);
}

struct Team {  // threads that meet after each part of an attempt
    std::barrier<>* meeting;
    Long threads;
    double* errors;
    Long* finite;
};

FUNCTION void walk_shared(const Args& a, const Team& team, Long me) {
    const Long groups = (a.samples + LANES - 1) / LANES;
    Group* states = (Group*)a.scratch;
    Saved saved = *(Saved*)a.saved;
    const double t0 = a.t0[0], t1 = a.t1[0];
    const W low = clocks(t0 < t1 ? t0 : t1), high = clocks(t0 < t1 ? t1 : t0);
    for (Long g = me; g < groups; g += team.threads) load_group(a, g, states[g]);
    Control control = {clocks(saved.size), clocks(saved.error_1), clocks(saved.error_2), verdict(saved.rejected != 0)};
    double t = saved.t, attempts = saved.accepted + saved.rejections, status = 0;
    Long row = 0, output = (Long)saved.output;
    bool active = saved.active != 0;
    while (active && row < a.rows) {
        const Attempt attempt = next_attempt(a, control, clocks(t), clocks(t1), verdict(true));
        const double end = attempt.end[0], h = attempt.h[0], direction = t1 > t0 ? 1 : -1;
        Long behind = output;
        while (behind < a.count && direction * output_time(a, 0, behind) <= direction * end) ++behind;
        const bool inside = behind > output && output_time(a, 0, output) != end, dense = a.dense != nullptr;
        double* mine = team.errors + me * ERRORS;
        for (int e = 0; e < ERRORS; ++e) mine[e] = 0;
        for (Long g = me; g < groups; g += team.threads)
            attempt_group(a, states[g], clocks(t), attempt, low, high, inside || dense, mine);
        team.meeting->arrive_and_wait();
        W sizes[ERRORS];
        for (int e = 0; e < ERRORS; ++e) {
            sizes[e] = clocks(0);
            for (Long i = 0; i < team.threads; ++i) sizes[e] = clocks(most(clocks(team.errors[i * ERRORS + e]), sizes[e][0]));
        }
        const double error = combined(sizes)[0];
        const bool accepted = error <= 1.0;
        control = next_control(a, control, clocks(error), attempt.size, verdict(accepted));
        attempts += 1;
        bool through = false;
        if (accepted) {
            if (CARRIES && !FSAL && !(inside || dense))
                for (Long g = me; g < groups; g += team.threads)
                    rhs(within(clocks(end), low, high), states[g].y_end, a.p, states[g].q, states[g].k_end);
            Long finite = 1;
            for (Long g = me; g < groups; g += team.threads)
                finite &= advance_group(a, states[g], g * LANES, row, t, h, end, output, behind);
            if (me == 0) {
                double* clock = a.starts + row * a.clock_by_step;
                clock[0] = t;
                clock[1] = h;
                clock[2] = end;
            }
            team.finite[me] = finite;
            team.meeting->arrive_and_wait();
            for (Long i = 0; i < team.threads; ++i) finite &= team.finite[i];
            t = end;
            output = behind;
            ++row;
            through = t == t1;
            if (!finite) {
                status = NON_FINITE;
                through = true;
            }
        } else {
            team.meeting->arrive_and_wait();  // nobody overwrites an error that another has yet to read
        }
        if (!through) {
            const MW rejected = verdict(!accepted);
            const Underflow low = underflow(a, attempt.size, rejected, verdict(true), clocks(t), clocks(t0), clocks(t1));
            control.size = choose(rejected, larger(control.size, low.floor), control.size);
            if (low.lost[0]) status = error - error == 0 ? STEP_UNDERFLOW : NON_FINITE;
            else if (attempts >= (double)a.max_steps) status = MAX_STEPS;
            through = status != 0;
        }
        active = !through;
    }
    for (Long g = me; g < groups; g += team.threads)
        EACH_LANE {
            const Long s = g * LANES + l;
            if (s >= a.samples) break;
            for (int d = 0; d < D; ++d) a.y[s * D + d] = LANE(states[g].y[d], l);
            for (int d = 0; d < D; ++d) a.k[s * D + d] = LANE(states[g].k[d], l);
        }
    if (me == 0) {
        saved.accepted += row;
        *(Saved*)a.saved = {t, control.size[0], control.error_1[0], control.error_2[0], control.rejected[0] ? 1. : 0.,
                            saved.accepted, attempts - saved.accepted, (double)output, status,
                            status != 0 ? t : saved.ended, active ? 1. : 0.};
        a.taken[0] = row;
        if (status != 0) fill_unreached(a, output);
    }
}
