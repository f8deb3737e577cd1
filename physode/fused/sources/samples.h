// A batch's samples in memory: their clocks, their outputs, and where each is between two launches.
#pragma once

// Where a sample is between two launches.
struct Saved {
    double t, size, error_1, error_2, rejected, accepted, rejections, output, status, ended, active;
};

INLINE double clock_of(const double* clock, const Args& a, Long s) { return clock[s * a.clock_by_sample]; }
INLINE double output_time(const Args& a, Long s, Long j) {
    return a.times[j * a.times_by_row + s * a.times_by_sample];
}

// An output's place, (outputs, samples, D): a loss on all of them runs along memory.
INLINE Long output_place(const Args& a, Long s, Long j) { return j * a.samples + s; }

INLINE void write_output(const Args& a, Long s, Long j, const V* y, int l) {
    S* to = a.outputs + output_place(a, s, j) * D;
    for (int d = 0; d < D; ++d) to[d] = LANE(y[d], l);
}

INLINE void blank_outputs(const Args& a, Long s, Long from) {
    for (Long j = from; j < a.count; ++j)
        for (int d = 0; d < D; ++d) a.outputs[output_place(a, s, j) * D + d] = NAN;
}
