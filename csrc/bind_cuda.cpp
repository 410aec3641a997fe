// The Python module gpucnn._cuda: one m.def per line, each a function of kernels/kernels.h or csrc/cuda/functions.h.
// Pointers and the stream cross as integers. The same file makes the module _simt of the tests.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <type_traits>

#include "convert.h"
#include "cuda/functions.h"
#include "handles.h"
#include "kernels.h"

#ifndef MODULE_NAME
#define MODULE_NAME _cuda
#endif

namespace py = pybind11;

namespace {

// What stands for a parameter in Python: an address for a pointer, else the value itself.
template <class T>
using FromPython = std::conditional_t<std::is_pointer_v<T>, Address, std::decay_t<T>>;

template <class T>
decltype(auto) to_native(FromPython<T>& value) {
    if constexpr (std::is_pointer_v<T>)
        return reinterpret_cast<T>(value);
    else
        return (value);
}

// The function with addresses for pointers, and without the GIL.
template <class Result, class... Params>
auto native(Result (*function)(Params...)) {
    return [function](FromPython<Params>... args) {
        py::gil_scoped_release no_gil;
        return function(to_native<Params>(args)...);
    };
}

// The launchers of im2col and col2im take a ColumnBlock; the kernel tests call them with its numbers.
void im2col_block(const ConvShape& shape, DType dtype, int images, int channel, int channels, int64_t first,
                  int64_t positions, int64_t image_stride, int64_t row_stride, const void* x, void* columns,
                  cudaStream_t stream) {
    im2col(shape, dtype, {images, channel, channels, first, positions, image_stride, row_stride}, x, columns, stream);
}

void col2im_block(const ConvShape& shape, DType dtype, int images, int channel, int channels, int64_t first,
                  int64_t positions, int64_t image_stride, int64_t row_stride, int row, int rows, const float* columns,
                  void* dx, cudaStream_t stream) {
    col2im(shape, dtype, {images, channel, channels, first, positions, image_stride, row_stride}, row, rows, columns,
           dx, stream);
}

// strides: of a, b and out, their rows, columns and groups.
void product_of_spectra(int frequencies, int64_t rows, int64_t columns, int64_t depth, int64_t groups,
                        const std::vector<int64_t>& strides, float* a, float* b, float* out, bool accumulate,
                        cudaStream_t stream) {
    const auto matrix = [&](float* data, int i) {
        return SpectrumMatrix{data, strides.at(i), strides.at(i + 1), strides.at(i + 2)};
    };
    multiply_spectra(
        {frequencies, rows, columns, depth, groups, matrix(a, 0), matrix(b, 3), matrix(out, 6), accumulate}, stream);
}

int runtime_version() {
    int version = 0;
    cudaRuntimeGetVersion(&version);
    return version;
}

// 10000 major + 100 minor + patch.
int cublas_version() {
    int major = 0, minor = 0, patch = 0;
    cublasGetProperty(MAJOR_VERSION, &major);
    cublasGetProperty(MINOR_VERSION, &minor);
    cublasGetProperty(PATCH_LEVEL, &patch);
    return 10000 * major + 100 * minor + patch;
}

}  // namespace

PYBIND11_MODULE(MODULE_NAME, m) {
    m.doc() = "The kernels of gpucnn on CUDA, on raw addresses; use gpucnn instead.";
    m.def("conv_direct_fwd", native(conv_direct_fwd));
    m.def("conv_direct_dgrad", native(conv_direct_dgrad));
    m.def("conv_direct_wgrad", native(conv_direct_wgrad));
    m.def("conv_im2col_fwd", native(conv_im2col_fwd));
    m.def("conv_im2col_dgrad", native(conv_im2col_dgrad));
    m.def("conv_im2col_wgrad", native(conv_im2col_wgrad));
    m.def("conv_im2col_workspace", native(conv_im2col_workspace));
    m.def("conv_gemm_fwd", native(conv_gemm_fwd));
    m.def("conv_gemm_dgrad", native(conv_gemm_dgrad));
    m.def("conv_gemm_wgrad", native(conv_gemm_wgrad));
    m.def("conv_gemm_workspace", native(conv_gemm_workspace));
    m.def("conv_winograd2_filters_bytes", native(conv_winograd_filters_bytes<2>));
    m.def("conv_winograd2_filters", native(conv_winograd_filters<2>));
    m.def("conv_winograd2_fwd", native(conv_winograd_fwd<2>));
    m.def("conv_winograd2_dgrad", native(conv_winograd_dgrad<2>));
    m.def("conv_winograd2_wgrad", native(conv_winograd_wgrad<2>));
    m.def("conv_winograd2_workspace", native(conv_winograd_workspace<2>));
    m.def("conv_winograd4_filters_bytes", native(conv_winograd_filters_bytes<4>));
    m.def("conv_winograd4_filters", native(conv_winograd_filters<4>));
    m.def("conv_winograd4_fwd", native(conv_winograd_fwd<4>));
    m.def("conv_winograd4_dgrad", native(conv_winograd_dgrad<4>));
    m.def("conv_winograd4_wgrad", native(conv_winograd_wgrad<4>));
    m.def("conv_winograd4_workspace", native(conv_winograd_workspace<4>));
    m.def("conv_winograd4_split_filters_bytes", native(conv_winograd_filters_bytes<4>));
    m.def("conv_winograd4_split_filters", native(conv_winograd_filters<4>));
    m.def("conv_winograd4_split_fwd", native(conv_winograd_fwd<4, true>));
    m.def("conv_winograd4_split_dgrad", native(conv_winograd_dgrad<4, true>));
    m.def("conv_winograd4_split_wgrad", native(conv_winograd_wgrad<4, true>));
    m.def("conv_winograd4_split_workspace", native(conv_winograd_workspace<4, true>));
    m.def("conv_winograd2_fused_filters_bytes", native(conv_winograd2_fused_filters_bytes));
    m.def("conv_winograd2_fused_filters", native(conv_winograd2_fused_filters));
    m.def("conv_winograd2_fused_workspace", native(conv_winograd2_fused_workspace));
    m.def("conv_winograd2_fused_fwd", native(conv_winograd2_fused_fwd));
    m.def("conv_winograd2_fused_dgrad", native(conv_winograd2_fused_dgrad));
    m.def("conv_depthwise_workspace", native(conv_depthwise_workspace));
    m.def("conv_depthwise_fwd", native(conv_depthwise_fwd));
    m.def("conv_depthwise_dgrad", native(conv_depthwise_dgrad));
    m.def("conv_depthwise_wgrad", native(conv_depthwise_wgrad));
    m.def("conv_fft_tile", native(conv_fft_tile));
    m.def("conv_fft_filters_bytes", native(conv_fft_filters_bytes));
    m.def("conv_fft_filters", native(conv_fft_filters));
    m.def("conv_fft_workspace", native(conv_fft_workspace));
    m.def("conv_fft_fwd", native(conv_fft_fwd));
    m.def("conv_fft_dgrad", native(conv_fft_dgrad));
    m.def("conv_fft_wgrad", native(conv_fft_wgrad));
    m.def("conv_implicit_filters_bytes", native(conv_implicit_filters_bytes));
    m.def("conv_implicit_filters", native(conv_implicit_filters));
    m.def("conv_implicit_workspace", native(conv_implicit_workspace));
    m.def("conv_implicit_fwd", native(conv_implicit_fwd));
    m.def("conv_implicit_dgrad", native(conv_implicit_dgrad));
    m.def("conv_implicit_wgrad", native(conv_implicit_wgrad));
    m.def("conv_implicit_split_filters_bytes", native(conv_implicit_filters_bytes));
    m.def("conv_implicit_split_filters", native(conv_implicit_filters));
    m.def("conv_implicit_split_workspace", native(conv_implicit_workspace));
    m.def("conv_implicit_split_fwd", native(conv_implicit_split_fwd));
    m.def("conv_implicit_split_dgrad", native(conv_implicit_split_dgrad));
    m.def("conv_implicit_split_wgrad", native(conv_implicit_split_wgrad));
    m.def("implicit_hopper_available", native(implicit_hopper_available));
    m.def("implicit_hopper_tile", native(implicit_hopper_tile));
    m.def("conv_implicit_hopper_filters_bytes", native(conv_implicit_filters_bytes));
    m.def("conv_implicit_hopper_filters", native(conv_implicit_filters));
    m.def("conv_implicit_hopper_workspace", native(conv_implicit_hopper_workspace));
    m.def("conv_implicit_hopper_fwd", native(conv_implicit_hopper_fwd));
    m.def("conv_implicit_hopper_fwd_statistics", native(conv_implicit_hopper_fwd_statistics));
    m.def("conv_implicit_hopper_dgrad", native(conv_implicit_hopper_dgrad));
    m.def("conv_implicit_hopper_wgrad", native(conv_implicit_hopper_wgrad));
    m.def("merge_statistics", native(merge_statistics));
    m.def("transpose_matrices", native(transpose_matrices));
    m.def("pad_channels", native(pad_channels));
    m.def("im2col", native(im2col_block));
    m.def("col2im", native(col2im_block));
    m.def("multiply_spectra", native(product_of_spectra));
    m.def("gemm", native(gemm));
    m.def("max_pool2d_fwd", native(max_pool2d_fwd));
    m.def("max_pool2d_bwd", native(max_pool2d_bwd));
    m.def("avg_pool2d_fwd", native(avg_pool2d_fwd));
    m.def("avg_pool2d_bwd", native(avg_pool2d_bwd));
    m.def("softmax_fwd", native(softmax_fwd));
    m.def("softmax_bwd", native(softmax_bwd));
    m.def("cross_entropy", native(cross_entropy));
    m.def("batch_norm_workspace", native(batch_norm_workspace));
    m.def("batch_norm_stats", native(batch_norm_stats));
    m.def("batch_norm_fwd", native(batch_norm_fwd));
    m.def("batch_norm_bwd", native(batch_norm_bwd));
    m.def("gelu", native(gelu));
    m.def("elu", native(elu));
    m.def("leaky_relu_fwd", native(leaky_relu_fwd));
    m.def("leaky_relu_bwd", native(leaky_relu_bwd));
    m.def("sgd_step", native(sgd_step));
    m.def("adam_step", native(adam_step));
    m.def("sum_parts", native(sum_parts));
    m.def("runtime_version", native(runtime_version));
    m.def("cublas_version", native(cublas_version));
    m.def("built_architectures", [] { return std::string(built_architectures()); });
}
