// How Python values become the structs of kernels/: shared by bind_cpu.cpp and bind_cuda.cpp.
#pragma once
#include <pybind11/pybind11.h>

#include <cstdint>

#include "conv_shape.h"
#include "dtype.h"

using Address = std::uintptr_t;  // of an array that Python owns and keeps alive during the call

namespace pybind11::detail {

// gpucnn.conv.ConvShape carries its seventeen numbers as the tuple `ints`, in the order of the C++ struct.
template <>
struct type_caster<ConvShape> {
    PYBIND11_TYPE_CASTER(ConvShape, const_name("ConvShape"));

    bool load(handle source, bool) {
        if (!hasattr(source, "ints")) return false;
        auto ints = pybind11::cast<tuple>(source.attr("ints"));
        if (ints.size() != 17) return false;
        int* field = &value.N;
        for (auto item : ints) *field++ = pybind11::cast<int>(item);
        value.validate();
        return true;
    }
};

template <>
struct type_caster<DType> {
    PYBIND11_TYPE_CASTER(DType, const_name("str"));

    bool load(handle source, bool) {
        if (!isinstance<str>(source)) return false;
        value = dtype_from_name(pybind11::cast<std::string>(source));
        return true;
    }
};

}  // namespace pybind11::detail

static_assert(sizeof(ConvShape) == 17 * sizeof(int), "ConvShape is seventeen ints, filled in order");
