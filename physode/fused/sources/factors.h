// Systems of linear equations, one a lane: LU factors by rows. A row is exchanged for one whose pivot is more than
// PREFERENCE times as large: zeros mostly stay where they are.
#pragma once

TABLE int WRITTEN_OUT = D <= 10 ? 32 : 1;  // systems whose elimination is

struct Factors {
    V lu[D][D];       // below the diagonal multipliers, above it rows of the upper triangle over their pivots
    V reciprocal[D];  // of the pivots
    V pivot[D];       // the row that row k was exchanged with
    bool moved[D];    // whether any lane exchanged row k
    bool exchanged;   // whether any lane exchanged any
};

// Exchange rows k and ``pivot`` of columns that lie ``width`` beside one another.
template <int width>
INLINE void exchange(V* rows, int k, V pivot) {
    for (int i = k + 1; i < D; ++i) {
        const MV here = pivot == vector((S)i);
        if (!somewhere(widen_mask(here))) continue;
        for (int d = 0; d < width; ++d) {
            const V upper = rows[k * width + d], lower = rows[i * width + d];
            rows[k * width + d] = select(here, lower, upper);
            rows[i * width + d] = select(here, upper, lower);
        }
    }
}

FUNCTION void exchange_rows(V* rows, int k, const V* pivot) { exchange<D>(rows, k, *pivot); }

// Factor what stands in ``lu``; a singular matrix's solutions are not finite.
INLINE void factor(Factors& m) {
#pragma GCC unroll WRITTEN_OUT
    for (int k = 0; k < D; ++k) {
        V largest = vector(PREFERENCE) * magnitude_of(m.lu[k][k]), row = vector((S)k);
#pragma GCC unroll WRITTEN_OUT
        for (int i = k + 1; i < D; ++i) {
            const V size = magnitude_of(m.lu[i][k]);
            const MV more = size > largest;
            largest = select(more, size, largest);
            row = select(more, vector((S)i), row);
        }
        m.pivot[k] = row;
        m.moved[k] = somewhere(widen_mask(row != vector((S)k)));
        if (m.moved[k]) {
            if (D <= 4) exchange<D>(m.lu[0], k, row);
            else exchange_rows(m.lu[0], k, &m.pivot[k]);
        }
        m.reciprocal[k] = vector(1) / m.lu[k][k];
#pragma GCC unroll WRITTEN_OUT
        for (int i = k + 1; i < D; ++i) {
            const V factor = m.lu[i][k] * m.reciprocal[k];
            m.lu[i][k] = factor;
#pragma GCC unroll WRITTEN_OUT
            for (int d = k + 1; d < D; ++d) m.lu[i][d] = m.lu[i][d] - factor * m.lu[k][d];
        }
    }
#pragma GCC unroll WRITTEN_OUT
    for (int k = 0; k < D; ++k)
#pragma GCC unroll WRITTEN_OUT
        for (int d = k + 1; d < D; ++d) m.lu[k][d] = m.lu[k][d] * m.reciprocal[k];
}

INLINE void solve(const Factors& m, V* x) {
#ifdef STRUCTURED
    if (!m.exchanged) return solve_filled(m.lu, m.reciprocal, x);
#endif
#pragma GCC unroll WRITTEN_OUT
    for (int k = 0; k < D; ++k) if (m.moved[k]) exchange<1>(x, k, m.pivot[k]);
#pragma GCC unroll WRITTEN_OUT
    for (int k = 0; k < D; ++k)
#pragma GCC unroll WRITTEN_OUT
        for (int i = k + 1; i < D; ++i) x[i] = x[i] - m.lu[i][k] * x[k];
#pragma GCC unroll WRITTEN_OUT
    for (int k = 0; k < D; ++k) x[k] = x[k] * m.reciprocal[k];
#pragma GCC unroll WRITTEN_OUT
    for (int k = D - 1; k > 0; --k)
#pragma GCC unroll WRITTEN_OUT
        for (int i = 0; i < k; ++i) x[i] = x[i] - m.lu[i][k] * x[k];
}

// With the transposed matrix.
INLINE void solve_transposed(const Factors& m, V* x) {
#ifdef STRUCTURED
    if (!m.exchanged) return solve_filled_transposed(m.lu, m.reciprocal, x);
#endif
#pragma GCC unroll WRITTEN_OUT
    for (int k = 0; k < D; ++k)
#pragma GCC unroll WRITTEN_OUT
        for (int i = k + 1; i < D; ++i) x[i] = x[i] - m.lu[k][i] * x[k];
#pragma GCC unroll WRITTEN_OUT
    for (int k = 0; k < D; ++k) x[k] = x[k] * m.reciprocal[k];
#pragma GCC unroll WRITTEN_OUT
    for (int k = D - 1; k > 0; --k)
#pragma GCC unroll WRITTEN_OUT
        for (int i = 0; i < k; ++i) x[i] = x[i] - m.lu[k][i] * x[k];
#pragma GCC unroll WRITTEN_OUT
    for (int k = D - 1; k >= 0; --k) if (m.moved[k]) exchange<1>(x, k, m.pivot[k]);
}
