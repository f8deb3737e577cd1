// The functions that right-hand sides are made of; emission writes down those that one needs.
#pragma once

// Lane by lane, where no vector function stands for them.
#define BY_LANES(name, f)                            \
    INLINE V name(V x) {                             \
        V result = x;                                \
        EACH_LANE LANE(result, l) = f(LANE(x, l));   \
        return result;                               \
    }
#define BY_LANES_2(name, f)                                      \
    INLINE V name(V x, V y) {                                    \
        V result = x;                                            \
        EACH_LANE LANE(result, l) = f(LANE(x, l), LANE(y, l));   \
        return result;                                           \
    }

// glibc's vector functions, within 4 units in the last place; no lane's result depends on another one.
#if defined(VECTOR_FUNCTIONS) && !defined(__CUDACC__) && (defined(__AVX512F__) || defined(__AVX2__))
#ifdef __AVX512F__
#define NATIVE_BYTES 64
#define CHOSEN(wide, narrow) wide
#else
#define NATIVE_BYTES 32
#define CHOSEN(wide, narrow) narrow
#endif
typedef S Native __attribute__((vector_size(NATIVE_BYTES)));
typedef double NativeW __attribute__((vector_size(NATIVE_BYTES)));
#define VECTORS(name, f, wide, narrow)             \
    extern "C" Native CHOSEN(wide, narrow)(Native); \
    INLINE V name(V x) { return in_parts<V, Native, CHOSEN(wide, narrow)>(x); }
#define VECTORS_2(name, f, wide, narrow)                    \
    extern "C" Native CHOSEN(wide, narrow)(Native, Native); \
    INLINE V name(V x, V y) { return in_parts<V, Native, CHOSEN(wide, narrow)>(x, y); }
extern "C" NativeW CHOSEN(_ZGVeN8vv_pow, _ZGVdN4vv_pow)(NativeW, NativeW);
INLINE W power(W x, W y) { return in_parts<W, NativeW, CHOSEN(_ZGVeN8vv_pow, _ZGVdN4vv_pow)>(x, y); }
#else
#define VECTORS(name, f, wide, narrow) BY_LANES(name, f)
#define VECTORS_2(name, f, wide, narrow) BY_LANES_2(name, f)
INLINE W power(W x, W y) {
    W result = x;
    EACH_LANE LANE(result, l) = pow(LANE(x, l), LANE(y, l));
    return result;
}
#endif

INLINE W root(W x) {
    W result = x;
    EACH_LANE LANE(result, l) = sqrt(LANE(x, l));
    return result;
}

INLINE V sign_of(V x) { return select(x > vector(0), vector(1), select(x < vector(0), vector(-1), vector(0))); }
INLINE V minimum(V x, V y) { return select((x < y) | (x != x), x, y); }
INLINE V maximum(V x, V y) { return select((x > y) | (x != x), x, y); }

// matrix @ x, rows in blocks that stay in registers; the matrix among the shared numbers.
template <int rows, int columns, int by_row, int by_column>
INLINE void matvec(const S* matrix, const V* x, V* result) {
    constexpr int block = 8;
    for (int from = 0; from + block <= rows; from += block) {
        V sum[block];
#pragma GCC unroll 8
        for (int i = 0; i < block; ++i) sum[i] = vector(0);
        for (int k = 0; k < columns; ++k)
#pragma GCC unroll 8
            for (int i = 0; i < block; ++i) sum[i] = sum[i] + matrix[(from + i) * by_row + k * by_column] * x[k];
#pragma GCC unroll 8
        for (int i = 0; i < block; ++i) result[from + i] = sum[i];
    }
    for (int i = rows - rows % block; i < rows; ++i) {
        V sum = vector(0);
        for (int k = 0; k < columns; ++k) sum = sum + matrix[i * by_row + k * by_column] * x[k];
        result[i] = sum;
    }
}

// gradient[i, k] += row[i] column[k], one a lane.
template <int rows, int columns>
INLINE void outer(V* gradient, const V* row, const V* column) {
    for (int i = 0; i < rows; ++i)
        for (int k = 0; k < columns; ++k) gradient[i * columns + k] = gradient[i * columns + k] + row[i] * column[k];
}
