#include "tensor_map.h"

#include <cuda_runtime.h>

#include <stdexcept>

namespace {

// A function of the driver, which the extension is not linked to: it also loads where there is none.
template <class Function>
Function driver_function(const char* name) {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
    const cudaError_t status = cudaGetDriverEntryPointByVersion(name, &function, 12000, cudaEnableDefault, &found);
    if (status != cudaSuccess || found != cudaDriverEntryPointSuccess)
        throw std::runtime_error(std::string("tensor_map: needs the driver's ") + name + ", but CUDA says " +
                                 cudaGetErrorString(status) + ", query result " + std::to_string(int(found)));
    return reinterpret_cast<Function>(function);
}

void check(CUresult status, const char* name, const std::string& shape) {
    if (status == CUDA_SUCCESS) return;
    throw std::runtime_error(std::string("tensor_map: ") + name + " should succeed, but came status " +
                             std::to_string(int(status)) + " (" + shape + ")");
}

CUtensorMapDataType type_of(DType dtype) {
    return dtype == DType::float16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
}

}  // namespace

CUtensorMap tensor_map(const ImageMap& m, DType dtype, const void* data, const std::string& shape) {
    static const auto encode = driver_function<decltype(&cuTensorMapEncodeIm2col)>("cuTensorMapEncodeIm2col");
    CUtensorMap result;
    const cuuint64_t size[] = {cuuint64_t(m.channels), cuuint64_t(m.W), cuuint64_t(m.H), cuuint64_t(m.N)};
    const cuuint64_t pixel = size[0] * 2, apart[] = {pixel, pixel * size[1], pixel * size[1] * size[2]};
    const int lower[] = {m.lower_w, m.lower_h}, upper[] = {m.upper_w, m.upper_h};
    const cuuint32_t strides[] = {1, cuuint32_t(m.stride_w), cuuint32_t(m.stride_h), 1};
    check(encode(&result, type_of(dtype), 4, const_cast<void*>(data), size, apart, lower, upper, m.box_channels,
                 m.box_positions, strides, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                 CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
          "cuTensorMapEncodeIm2col", shape);
    return result;
}

CUtensorMap tensor_map(const FilterMap& m, DType dtype, const void* data, const std::string& shape) {
    static const auto encode = driver_function<decltype(&cuTensorMapEncodeTiled)>("cuTensorMapEncodeTiled");
    CUtensorMap result;
    const cuuint64_t size[] = {cuuint64_t(m.channels), cuuint64_t(m.taps), cuuint64_t(m.rows)};
    const cuuint64_t apart[] = {size[0] * 2, size[0] * 2 * size[1]};
    const cuuint32_t box[] = {cuuint32_t(m.box_channels), 1, cuuint32_t(m.box_rows)}, strides[] = {1, 1, 1};
    check(encode(&result, type_of(dtype), 3, const_cast<void*>(data), size, apart, box, strides,
                 CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                 CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
          "cuTensorMapEncodeTiled", shape);
    return result;
}
