// The step size: the first one, that of an attempt, the controller's next one; as physode/solvers/step_control.py has them.
#pragma once

TABLE double SMALLEST_ERROR = 1e-12;
TABLE double STRETCH = 0.999;  // a last step may be this much shorter than what remains
TABLE double RESOLUTION = 4 * 2.220446049250313e-16;
TABLE double SMALLEST_SHARE = 1e-30;

// What a controller carries from attempt to attempt, one value a lane. With a predictive one, error_1 is the root of the
// ratio that the step proposed is expected to have, whose power is the error estimate's order and one.
struct Control {
    W size, error_1, error_2;
    MW rejected;
};

struct Attempt {
    W size, h, end;  // the size, positive or 0; signed; where it ends
};

INLINE Attempt next_attempt(const Args& a, const Control& control, W t, W t1, MW active) {
    const W direction = choose(t1 > t, clocks(1), choose(t1 < t, clocks(-1), clocks(0)));
    const W remaining = direction * (t1 - t);
    W proposed = control.size;
    if (a.min_step > 0) proposed = choose(proposed < a.min_step, clocks(a.min_step), proposed);
    if (a.max_step > 0) proposed = choose(proposed > a.max_step, clocks(a.max_step), proposed);
    const MW last = proposed >= STRETCH * remaining;
    W size = choose(last, remaining, proposed);
    size = choose(active, size, clocks(0));
    const W h = direction * size;
    return {size, h, choose(last, t1, t + h)};
}

INLINE Control next_control(const Args& a, const Control& control, W error, W size, MW accepted) {
    const double k = ERROR_ORDER + 1.0;
    error = choose(error < SMALLEST_ERROR, clocks(SMALLEST_ERROR), error);  // NaN stays
    const W shrink = power(error, clocks(-1.0 / k));
    W rule = a.safety * shrink, error_1 = control.error_1, error_2 = control.error_2;
    if (a.predictive) {
        const W growth = error_1 * shrink;  // (e_1 / e)^(1/k)
        rule = choose(accepted, rule * choose(growth > 1.0, clocks(1), growth), rule);
    } else if (!a.integral_only) {
        const double p = a.proportional / k, i = a.integral / k, d = a.derivative / k;
        const W pid = a.safety * power(error, clocks(-(p + i + d))) * power(error_1, clocks(p + 2 * d)) *
                      power(error_2, clocks(-d));
        rule = choose(accepted, pid, rule);
        error_2 = choose(accepted, error_1, error_2);
        error_1 = choose(accepted, error, error_1);
    }
    const W ceiling = choose(accepted, choose(control.rejected, clocks(1), clocks(a.max_factor)), clocks(a.safety));
    rule = choose(is_finite(rule), rule, clocks(a.min_factor));
    rule = choose(rule < a.min_factor, clocks(a.min_factor), rule);
    const W factor = smaller(rule, ceiling);
    if (a.predictive) error_1 = larger(choose(accepted, 1.0 / shrink, error_1) * factor, clocks(SMALLEST_ROOT));
    return {size * factor, error_1, error_2, opposite(accepted)};
}

// The root mean square of a state, of several parts the largest.
INLINE W norm(const V* x) {
    W result = clocks(0);
    for (int g = 0; g < GROUPS; ++g) {
        W sum = clocks(0);
        for (int d = GROUP[g]; d < GROUP[g + 1]; ++d) sum = sum + widen(x[d]) * widen(x[d]);
        sum = root(sum / (double)(GROUP[g + 1] - GROUP[g]));
        result = choose(opposite(sum <= result) & (result == result), sum, result);  // NaN is the largest
    }
    return result;
}

// Hairer's first step (Solving ODEs I, Sect. II.4): by an Euler step, from the sizes of y, f and the change of f.
INLINE W euler_size(W d0, W d1, W length) {
    const MW tiny = (d0 < 1e-5) | (d1 < 1e-5);
    W h0 = choose(tiny, 1e-6 * length, 0.01 * d0 / choose(tiny, clocks(1), d1));
    h0 = smaller(choose(is_finite(h0), h0, clocks(0)), length);
    return choose(h0 > 0.0, h0, 1e-6 * length);
}

INLINE W first_size(W h0, W d1, W d2, W length) {
    const W steepest = choose(opposite(d1 >= d2), d2, d1);
    const MW flat = steepest <= 1e-15;
    const W h1 = choose(flat, larger(1e-3 * h0, clocks(1e-6)),
                        power(0.01 / choose(flat, clocks(1), steepest), clocks(1.0 / (ERROR_ORDER + 1))));
    const W h = smaller(100.0 * h0, h1);
    return smaller(choose(is_finite(h) & (h > 0.0), h, h0), length);
}

// The norms of y and f in units of the tolerance.
INLINE void start_norms(const Args& a, const V* y, const V* k, W& d0, W& d1) {
    V part[D], slope[D];
    for (int d = 0; d < D; ++d) {
        const V scale = vector(a.atol[d]) + vector(a.rtol[d]) * magnitude_of(y[d]);
        part[d] = y[d] / scale;
        slope[d] = k[d] / scale;
    }
    d0 = norm(part);
    d1 = norm(slope);
}

// The change of f over an Euler step of size h0, in units of the tolerance.
INLINE W start_bend(const Args& a, const V* q, W t, W h0, W backwards, W low, W high, const V* y, const V* k) {
    const W probe = choose(backwards < 0.0, -h0, h0);
    const V wide = narrow(probe);
    V at[D], k_probe[D];
    for (int d = 0; d < D; ++d) at[d] = y[d] + wide * k[d];
    rhs(within(t + probe, low, high), at, a.p, q, k_probe);
    for (int d = 0; d < D; ++d)
        k_probe[d] = (k_probe[d] - k[d]) / (vector(a.atol[d]) + vector(a.rtol[d]) * magnitude_of(y[d]));
    return norm(k_probe) / h0;
}

// Two estimates count as one (Hairer, Norsett & Wanner, Solving ODEs I, Sect. II.10).
INLINE W combined(const W* sizes) {
    if (ERRORS == 1) return sizes[0];
    const W fifth = sizes[0] * sizes[0], both = fifth + 0.01 * sizes[ERRORS - 1] * sizes[ERRORS - 1];
    return fifth / root(choose(both < 1e-300, clocks(1e-300), both));
}

struct Underflow {
    MW lost;
    W floor;
};

INLINE Underflow underflow(const Args& a, W size, MW rejected, MW active, W t, W t0, W t1) {
    const W finest = larger(RESOLUTION * magnitude(t), SMALLEST_SHARE * magnitude(t1 - t0));
    const W floor = larger(finest, clocks(a.min_step));
    return {active & (size <= choose(rejected, floor, finest)), floor};
}
