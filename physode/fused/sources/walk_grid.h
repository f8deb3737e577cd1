// Steps that are given beforehand.
#pragma once

// Those of the sample ``first`` and the ones beside it in the lanes.
FUNCTION void walk_grid(const Args& a, Long first) {
    Group x = {};
    W low, high, t, h, end, broken_at;
    Long sample[LANES];
    double status[LANES];
    EACH_LANE {
        const Long s = first + l < a.samples ? first + l : a.samples - 1;
        sample[l] = s;
        status[l] = 0;
        const double from = clock_of(a.t0, a, s), to = clock_of(a.t1, a, s);
        LANE(low, l) = from < to ? from : to;
        LANE(high, l) = from < to ? to : from;
        LANE(broken_at, l) = to;
        for (int d = 0; d < D; ++d) LANE(x.y[d], l) = a.y[s * D + d];
        for (int d = 0; d < Q; ++d) LANE(x.q[d], l) = a.q[s * Q + d];
    }
    Long output[LANES];
    EACH_LANE {
        output[l] = a.count ? 1 : 0;
        if (a.count && first + l < a.samples) write_output(a, sample[l], 0, x.y, l);
    }
    for (Long row = 0; row < a.rows; ++row) {
        Step step;
        bool inside = a.dense != nullptr;
        EACH_LANE {
            const Long at = row * a.grid_by_row + sample[l] * a.clock_by_sample;
            LANE(t, l) = a.starts[at];
            LANE(h, l) = a.sizes[at];
            LANE(end, l) = a.ends[at];
            if (output[l] < a.count) {
                const double next = output_time(a, sample[l], output[l]);
                inside |= LANE(h, l) > 0 ? next < LANE(end, l) : next > LANE(end, l);
            }
        }
        if (LEAVES && row > 0)
            for (int d = 0; d < D; ++d) step.k[0][d] = x.k[d];
        else if (CARRIES)
            rhs(within(t, low, high), x.y, a.p, x.q, step.k[0]);
        take_step(a, x.q, t, h, low, high, x.y, step);
        if (inside) {
            if (CARRIES) rhs(within(t + h, low, high), step.y, a.p, x.q, step.k[END]);
            finish_step(a, x.q, t, h, low, high, x.y, step);
            interpolant(h, x.y, step, x.F);
        }
        EACH_LANE {
            if (first + l >= a.samples) break;
            const Long s = sample[l], at = s * a.rows + row;
            if (a.nodes) for (int d = 0; d < D; ++d) a.nodes[at * D + d] = LANE(x.y[d], l);
            if (a.dense) for (int r = 0; r < TERMS; ++r)
                for (int d = 0; d < D; ++d) a.dense[(at * TERMS + r) * D + d] = LANE(x.F[r][d], l);
            const double direction = LANE(h, l) < 0 ? -1 : 1;
            while (output[l] < a.count) {
                const double time = output_time(a, s, output[l]);
                if (direction * time > direction * LANE(end, l) || LANE(h, l) == 0) break;
                S* to = a.outputs + output_place(a, s, output[l]) * D;
                const S theta = (S)((time - LANE(t, l)) / LANE(h, l));
                for (int d = 0; d < D; ++d) {
                    S sum = LANE(x.y[d], l), phi = theta;
                    if (inside) for (int r = 0; r < TERMS; ++r) {
                        sum += phi * LANE(x.F[r][d], l);
                        phi *= r % 2 == 0 ? 1 - theta : theta;
                    }
                    to[d] = time == LANE(end, l) ? LANE(step.y[d], l) : sum;
                }
                ++output[l];
            }
            for (int d = 0; d < D; ++d) {
                const S value = LANE(step.y[d], l);
                if (value - value != 0 && status[l] == 0) {
                    status[l] = NON_FINITE;
                    LANE(broken_at, l) = LANE(end, l);
                }
            }
        }
        for (int d = 0; d < D; ++d) x.y[d] = step.y[d];
        if (LEAVES) for (int d = 0; d < D; ++d) x.k[d] = step.k[END][d];
    }
    EACH_LANE {
        if (first + l >= a.samples) break;
        const Long s = sample[l];
        ((Saved*)a.saved)[s] = {LANE(high, l), 0, 1, 1, 0, (double)a.rows, 0, (double)output[l], status[l],
                                LANE(broken_at, l), 0};
        for (int d = 0; d < D; ++d) a.y[s * D + d] = LANE(x.y[d], l);
    }
}
