// Sensitivities: accepted steps replayed from the first to the last, tangents of the state carried through each.
//
// A lane has some of a sample's columns (directions), so that the columns of few samples share out over the lanes. What
// the derivatives in a step are made of is computed once, and used for one column after another.
#pragma once

struct Onward {
    V kept[ALL][KEPT + 1];
    Step step;
    V y[D], q[Q + 1];
    W t, h, end, low, high, direction;
    Long sample[LANES], row[LANES], part[LANES], step_at[LANES], steps[LANES], output[LANES], written[LANES];
    MW active;
};

// Columns in memory: of each the state's tangents, and those of the numbers.
#define COLUMN (D + SLOTS)

INLINE bool column_of(const Args& a, const Onward& x, int l, Long c, Long& column) {
    column = x.part[l] * a.width + c;
    return column < a.columns;
}

INLINE void load_onward(const Args& a, Onward& x, V* columns, int l, Long task) {
    const Long row = task / a.parts, s = a.order[row];
    x.sample[l] = s;
    x.row[l] = row;
    x.part[l] = task % a.parts;
    x.step_at[l] = 0;
    x.steps[l] = a.taken[row * a.taken_by_row];
    x.output[l] = a.last_output[s * a.parts + x.part[l]];
    x.written[l] = a.written[s];
    const double t0 = clock_of(a.t0, a, s), t1 = clock_of(a.t1, a, s);
    LANE(x.low, l) = t0 < t1 ? t0 : t1;
    LANE(x.high, l) = t0 < t1 ? t1 : t0;
    LANE(x.direction, l) = t0 < t1 ? 1 : -1;
    LANE(x.active, l) = -1;
    for (int d = 0; d < Q; ++d) LANE(x.q[d], l) = a.q[s * Q + d];
    for (Long c = 0; c < a.width; ++c) {
        Long column;
        const bool there = column_of(a, x, l, c, column);
        V* to = columns + c * COLUMN;
        for (int d = 0; d < D; ++d) LANE(to[d], l) = there ? a.tangents[(s * a.columns + column) * D + d] : 0;
        for (int j = 0; j < SLOTS; ++j)
            LANE(to[D + j], l) = there ? a.seeds[(s * a.seeds_by_sample + column) * SLOTS + j] : 0;
    }
}

INLINE void save_onward(const Args& a, Onward& x, const V* columns, int l) {
    const Long s = x.sample[l];
    a.last_output[s * a.parts + x.part[l]] = x.output[l];
    for (Long c = 0; c < a.width; ++c) {
        Long column;
        if (!column_of(a, x, l, c, column)) continue;
        for (int d = 0; d < D; ++d)
            a.tangents[(s * a.columns + column) * D + d] = LANE(columns[c * COLUMN + d], l);
    }
}

// The stages, as take_step and finish_step have them, with what their derivatives are made of.
template <int i>
INLINE void stages_once(const Args& a, Onward& x) {
    if constexpr (i < STAGES) {
        const V wide = narrow(x.h);
        V at[D];
        for (int d = 0; d < D; ++d) {
            at[d] = x.y[d];
            if constexpr (i > 0) at[d] = at[d] + wide * weighted(A[i], x.step.k, d);
        }
        rhs_once(within(C[i] * x.h + x.t, x.low, x.high), at, a.p, x.q, x.step.k[i], x.kept[i]);
        stages_once<i + 1>(a, x);
    }
}

template <int i>
INLINE void extra_once(const Args& a, Onward& x) {
    if constexpr (i < EXTRA) {
        const V wide = narrow(x.h);
        V at[D];
        for (int d = 0; d < D; ++d) at[d] = x.y[d] + wide * weighted(A_EXTRA[i], x.step.k, d);
        constexpr int j = STAGES + 1 + i;
        rhs_once(within(C_EXTRA[i] * x.h + x.t, x.low, x.high), at, a.p, x.q, x.step.k[j], x.kept[j]);
        extra_once<i + 1>(a, x);
    }
}

template <int i>
INLINE void push_stages(const Args& a, const Onward& x, const V* start, Step& moved) {
    if constexpr (i < STAGES) {
        const V wide = narrow(x.h);
        V at[D];
        for (int d = 0; d < D; ++d) {
            at[d] = start[d];
            if constexpr (i > 0) at[d] = at[d] + wide * weighted(A[i], moved.k, d);
        }
        rhs_each(x.kept[i], a.p, at, start + D, moved.k[i]);
        push_stages<i + 1>(a, x, start, moved);
    }
}

template <int i>
INLINE void push_extra(const Args& a, const Onward& x, const V* start, Step& moved) {
    if constexpr (i < EXTRA) {
        const V wide = narrow(x.h);
        V at[D];
        for (int d = 0; d < D; ++d) at[d] = start[d] + wide * weighted(A_EXTRA[i], moved.k, d);
        constexpr int j = STAGES + 1 + i;
        rhs_each(x.kept[j], a.p, at, start + D, moved.k[j]);
        push_extra<i + 1>(a, x, start, moved);
    }
}

// Write one column's tangents of the outputs in a step; F is that of the interpolant, where outputs lie inside.
INLINE void push_outputs(const Args& a, const Onward& x, Long c, Long* output, const V* start, const V* at_end, const V (*F)[D]) {
    while (true) {
        W time = x.t;
        MW here = verdict(false);
        EACH_LANE {
            if (!LANE(x.active, l) || output[l] >= x.written[l]) continue;
            const double next = output_time(a, x.sample[l], output[l]);
            if (LANE(x.direction, l) * next > LANE(x.direction, l) * LANE(x.end, l)) continue;
            LANE(time, l) = next;
            LANE(here, l) = -1;
        }
        if (!somewhere(here)) return;
        const MV ends = narrow_mask(time == x.end);
        V phi[TERMS];
        basis(narrow((time - x.t) / choose(x.h == 0.0, clocks(1), x.h)), phi);
        for (int d = 0; d < D; ++d) {
            V value = at_end[d];
            if (F != nullptr) {
                V sum = start[d];
                for (int r = 0; r < TERMS; ++r) sum = sum + phi[r] * F[r][d];
                value = select(ends, value, sum);
            }
            EACH_LANE {
                Long column;
                if (!LANE(here, l) || !column_of(a, x, l, c, column)) continue;
                a.jacobian[(output_place(a, x.sample[l], output[l]) * D + d) * a.columns + column] = LANE(value, l);
            }
        }
        EACH_LANE if (LANE(here, l)) ++output[l];
    }
}

// Replay one step of every lane.
INLINE void push_step(const Args& a, Onward& x, V* columns) {
    bool inside = false, reached = false;
    EACH_LANE {
        if (!LANE(x.active, l)) {
            LANE(x.h, l) = 0;
            for (int d = 0; d < D; ++d) LANE(x.y[d], l) = 0;
            continue;
        }
        const Long i = x.step_at[l], at = x.row[l] * a.clock_by_row + i * a.clock_by_step;
        LANE(x.t, l) = a.starts[at];
        LANE(x.h, l) = a.sizes[at];
        LANE(x.end, l) = a.ends[at];
        const S* from = a.nodes + (x.row[l] * a.rows + i) * D;
        for (int d = 0; d < D; ++d) LANE(x.y[d], l) = from[d];
        if (x.output[l] >= x.written[l]) continue;
        const double direction = LANE(x.direction, l), next = direction * output_time(a, x.sample[l], x.output[l]);
        inside |= next < direction * LANE(x.end, l);
        reached |= next <= direction * LANE(x.end, l);
    }
    stages_once<0>(a, x);
    if (inside) {
        const V wide = narrow(x.h);
        for (int d = 0; d < D; ++d) x.step.y[d] = x.y[d] + wide * weighted(B, x.step.k, d);
        rhs_once(within(x.t + x.h, x.low, x.high), x.step.y, a.p, x.q, x.step.k[STAGES], x.kept[STAGES]);
        extra_once<0>(a, x);
    }
    const MV moves = narrow_mask(x.active);
    const V wide = narrow(x.h);
    Long output[LANES];
    for (Long c = 0; c < a.width; ++c) {
        V* start = columns + c * COLUMN;
        Step moved;
        push_stages<0>(a, x, start, moved);
        for (int d = 0; d < D; ++d) moved.y[d] = start[d] + wide * weighted(B, moved.k, d);
        EACH_LANE output[l] = x.output[l];
        if (inside) {
            V F[TERMS][D];
            rhs_each(x.kept[STAGES], a.p, moved.y, start + D, moved.k[STAGES]);
            push_extra<0>(a, x, start, moved);
            interpolant(x.h, start, moved, F);
            push_outputs(a, x, c, output, start, moved.y, F);
        } else if (reached) {
            push_outputs(a, x, c, output, start, moved.y, nullptr);
        }
        for (int d = 0; d < D; ++d) start[d] = select(moves, moved.y[d], start[d]);
    }
    EACH_LANE x.output[l] = output[l];
}

INLINE Long column_bytes(const Args& a) { return (a.width * COLUMN * (Long)sizeof(V) + 63) / 64 * 64; }

FUNCTION void push(const Args& a, Long me) {
    char* memory = (char*)a.scratch + me * ((Long)sizeof(Onward) + column_bytes(a));
    Onward& x = *(Onward*)memory;
    V* columns = (V*)(memory + sizeof(Onward));
    const Long tasks = a.active * a.parts;
    EACH_LANE {
        LANE(x.active, l) = 0;
        LANE(x.t, l) = LANE(x.end, l) = LANE(x.low, l) = LANE(x.high, l) = LANE(x.direction, l) = 0;
        for (int d = 0; d < Q; ++d) LANE(x.q[d], l) = 0;
        for (Long j = 0; j < a.width * COLUMN; ++j) LANE(columns[j], l) = 0;
        const Long task = taken(a.counter);
        if (task < tasks) load_onward(a, x, columns, l, task);
    }
    while (somewhere(x.active)) {
        EACH_LANE while (LANE(x.active, l) && x.step_at[l] >= x.steps[l]) {
            save_onward(a, x, columns, l);
            LANE(x.active, l) = 0;
            const Long task = taken(a.counter);
            if (task < tasks) load_onward(a, x, columns, l, task);
        }
        if (!somewhere(x.active)) return;
        push_step(a, x, columns);
        EACH_LANE if (LANE(x.active, l)) ++x.step_at[l];
    }
}
