// Values that are neighbours in memory, read and written at once: channels of a pixel in channels_last order.
#pragma once
#include <initializer_list>
#include <type_traits>

#include "common.cuh"

template <class T, int width>
struct alignas(sizeof(T) * width < 16 ? sizeof(T) * width : 16) Neighbours {
    T value[width];
};

template <int width, class T>
__device__ const Neighbours<T, width>& neighbours(const T* first) {
    return *reinterpret_cast<const Neighbours<T, width>*>(first);
}

template <int width, class T>
__device__ Neighbours<T, width>& neighbours(T* first) {
    return *reinterpret_cast<Neighbours<T, width>*>(first);
}

// f(width), a constant: `most`, where C is a multiple of it and the arrays are aligned to so many T, or to 16 bytes;
// else 1.
template <int most, class T, class F>
void with_width(int64_t C, std::initializer_list<const void*> arrays, F&& f) {
    bool fits = C % most == 0;
    for (const void* array : arrays)
        fits = fits && reinterpret_cast<std::uintptr_t>(array) % alignof(Neighbours<T, most>) == 0;
    if (fits) return f(std::integral_constant<int, most>());
    f(std::integral_constant<int, 1>());
}
