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
#define WIDE_BYTES 64
#define OF_DOUBLES(wide, narrow) wide
#else
#define WIDE_BYTES 32
#define OF_DOUBLES(wide, narrow) narrow
#endif
typedef double NativeW __attribute__((vector_size(WIDE_BYTES)));
#if IS_SINGLE  // eight floats are as wide as AVX2's vectors
typedef float Native __attribute__((vector_size(32)));
#define CHOSEN(wide, narrow) narrow
#else
typedef NativeW Native;
#define CHOSEN(wide, narrow) OF_DOUBLES(wide, narrow)
#endif
static_assert(sizeof(V) % sizeof(Native) == 0 && sizeof(W) % sizeof(NativeW) == 0, "parts of a vector");
#define VECTORS(name, f, wide, narrow)             \
    extern "C" Native CHOSEN(wide, narrow)(Native); \
    INLINE V name(V x) { return in_parts<V, Native, CHOSEN(wide, narrow)>(x); }
#define VECTORS_2(name, f, wide, narrow)                    \
    extern "C" Native CHOSEN(wide, narrow)(Native, Native); \
    INLINE V name(V x, V y) { return in_parts<V, Native, CHOSEN(wide, narrow)>(x, y); }
#define POWER OF_DOUBLES(_ZGVeN8vv_pow, _ZGVdN4vv_pow)
extern "C" NativeW POWER(NativeW, NativeW);
INLINE W power(W x, W y) { return in_parts<W, NativeW, POWER>(x, y); }
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

// gradient[i, k] += row[i] column[k], summed over the lanes in their order.
template <int rows, int columns>
FUNCTION void outer(S* gradient, const V* row, const V* column) {
#ifdef __CUDACC__
    for (int i = 0; i < rows; ++i)
        for (int k = 0; k < columns; ++k) gradient[i * columns + k] += row[i] * column[k];
#else
    typedef S Wide __attribute__((vector_size(64), aligned(sizeof(S))));
    constexpr int width = 64 / sizeof(S);
    S by_lane[LANES][columns], left[LANES][rows];
    for (int k = 0; k < columns; ++k) EACH_LANE by_lane[l][k] = column[k][l];
    for (int i = 0; i < rows; ++i) EACH_LANE left[l][i] = row[i][l];
    for (int k = 0; k + width <= columns; k += width) {
        Wide right[LANES];
        EACH_LANE right[l] = *(const Wide*)&by_lane[l][k];
        for (int i = 0; i < rows; ++i) {
            Wide* to = (Wide*)&gradient[i * columns + k];
            Wide sum = *to;
            EACH_LANE sum = sum + left[l][i] * right[l];
            *to = sum;
        }
    }
    for (int i = 0; i < rows; ++i)
        for (int k = columns - columns % width; k < columns; ++k) {
            S sum = gradient[i * columns + k];
            EACH_LANE sum += left[l][i] * by_lane[l][k];
            gradient[i * columns + k] = sum;
        }
#endif
}
