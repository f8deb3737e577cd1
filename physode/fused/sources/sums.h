// What methods share: weighted sums of stages, the size of an error, the interpolant's basis.
#pragma once

INLINE V within(W t, W low, W high) {
    t = choose(t < low, low, t);
    return narrow(choose(t > high, high, t));
}

template <int N>
INLINE V weighted(const double (&row)[N], const V (*k)[D], int d) {
    V sum = vector(0);
    bool begun = false;
#pragma GCC unroll 32
    for (int j = 0; j < N; ++j) {
        if (row[j] == 0.0) continue;
        sum = begun ? sum + (S)row[j] * k[j][d] : (S)row[j] * k[j][d];
        begun = true;
    }
    return sum;
}

// The tolerated error of each component.
INLINE void tolerated(const Args& a, const V* y, const V* y_end, V* scale) {
    for (int d = 0; d < D; ++d)
        scale[d] = vector(a.atol[d]) + vector(a.rtol[d]) * larger_of(magnitude_of(y[d]), magnitude_of(y_end[d]));
}

// The root mean square of components, of several parts the largest; NaN is the largest.
template <typename F>
INLINE W size_of(F component) {
    W result = clocks(0);
    for (int g = 0; g < GROUPS; ++g) {
        V sum = vector(0);
        for (int d = GROUP[g]; d < GROUP[g + 1]; ++d) {
            const V part = component(d);
            sum = sum + part * part;
        }
        const W size = root(widen(sum) / (double)(GROUP[g + 1] - GROUP[g]));
        result = choose(opposite(size <= result) & (result == result), size, result);
    }
    return result;
}

// The coefficients of the cubic through both ends with the derivatives there.
INLINE void hermite(V h, const V* y, const V* y_end, const V* k, const V* k_end, V (*F)[D]) {
    for (int d = 0; d < D; ++d) {
        const V change = y_end[d] - y[d], first = h * k[d];
        F[0][d] = change;
        F[1][d] = first - change;
        F[2][d] = vector(2) * change - first - h * k_end[d];
    }
}

// The interpolant's basis functions at theta.
INLINE void basis(V theta, V* phi) {
    V value = theta;
#pragma GCC unroll 8
    for (int r = 0; r < TERMS; ++r) {
        phi[r] = value;
        value = value * (r % 2 == 0 ? vector(1) - theta : theta);
    }
}
