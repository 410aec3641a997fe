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
    m.def("im2col", native(im2col_block));
    m.def("col2im", native(col2im_block));
    m.def("gemm", native(gemm));
    m.def("max_pool2d_fwd", native(max_pool2d_fwd));
    m.def("max_pool2d_bwd", native(max_pool2d_bwd));
    m.def("avg_pool2d_fwd", native(avg_pool2d_fwd));
    m.def("avg_pool2d_bwd", native(avg_pool2d_bwd));
    m.def("softmax_fwd", native(softmax_fwd));
    m.def("softmax_bwd", native(softmax_bwd));
    m.def("cross_entropy", native(cross_entropy));
    m.def("batch_norm_stats", native(batch_norm_stats));
    m.def("batch_norm_fwd", native(batch_norm_fwd));
    m.def("batch_norm_bwd", native(batch_norm_bwd));
    m.def("gelu", native(gelu));
    m.def("elu", native(elu));
    m.def("leaky_relu_fwd", native(leaky_relu_fwd));
    m.def("leaky_relu_bwd", native(leaky_relu_bwd));
    m.def("sgd_step", native(sgd_step));
    m.def("adam_step", native(adam_step));
    m.def("cast_from_float32", native(cast_from_float32));
    m.def("runtime_version", native(runtime_version));
    m.def("cublas_version", native(cublas_version));
    m.def("built_architectures", [] { return std::string(built_architectures()); });
}
