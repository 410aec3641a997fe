// The Python face of csrc/cpu/cpu.h: one m.def per line. Arguments as in the header, plus the stream that the CUDA
// extension needs, which is ignored. The GIL is released while C++ computes.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "convert.h"
#include "cpu/cpu.h"
#include "cpu/simd/simd.h"
#include "cpu/threads.h"

namespace {

template <class... Args>
auto with_stream(void (*function)(Args...)) {
    return [function](std::decay_t<Args>... args, Address /*stream*/) { function(args...); };
}

}  // namespace

PYBIND11_MODULE(_cpu, m) {
    using nogil = pybind11::call_guard<pybind11::gil_scoped_release>;
    // Of a NumPy array: faster than its __array_interface__, which builds a dictionary.
    m.def("address", [](const pybind11::array& array) { return reinterpret_cast<Address>(array.data()); });
    m.def("num_threads", &num_threads);
    m.def("set_num_threads", &set_num_threads);
    m.def("conv_direct_fwd", with_stream(conv_direct_fwd), nogil());
    m.def("conv_direct_dgrad", with_stream(conv_direct_dgrad), nogil());
    m.def("conv_direct_wgrad", with_stream(conv_direct_wgrad), nogil());
    m.def("conv_im2col_fwd", with_stream(conv_im2col_fwd), nogil());
    m.def("conv_im2col_dgrad", with_stream(conv_im2col_dgrad), nogil());
    m.def("conv_im2col_wgrad", with_stream(conv_im2col_wgrad), nogil());
    m.def("conv_im2col_workspace", &conv_im2col_workspace, nogil());
    m.def("conv_gemm_fwd", with_stream(conv_gemm_fwd), nogil());
    m.def("conv_gemm_dgrad", with_stream(conv_gemm_dgrad), nogil());
    m.def("conv_gemm_wgrad", with_stream(conv_gemm_wgrad), nogil());
    m.def("conv_gemm_workspace", &conv_gemm_workspace, nogil());
    m.def("conv_winograd2_filters_bytes", &conv_winograd_filters_bytes<2>, nogil());
    m.def("conv_winograd2_filters", with_stream(conv_winograd_filters<2>), nogil());
    m.def("conv_winograd2_workspace", &conv_winograd_workspace<2>, nogil());
    m.def("conv_winograd2_fwd", with_stream(conv_winograd_fwd<2>), nogil());
    m.def("conv_winograd2_dgrad", with_stream(conv_winograd_dgrad<2>), nogil());
    m.def("conv_winograd2_wgrad", with_stream(conv_winograd_wgrad<2>), nogil());
    m.def("conv_winograd4_filters_bytes", &conv_winograd_filters_bytes<4>, nogil());
    m.def("conv_winograd4_filters", with_stream(conv_winograd_filters<4>), nogil());
    m.def("conv_winograd4_workspace", &conv_winograd_workspace<4>, nogil());
    m.def("conv_winograd4_fwd", with_stream(conv_winograd_fwd<4>), nogil());
    m.def("conv_winograd4_dgrad", with_stream(conv_winograd_dgrad<4>), nogil());
    m.def("conv_winograd4_wgrad", with_stream(conv_winograd_wgrad<4>), nogil());
    m.def("conv_depthwise_fwd", with_stream(conv_depthwise_fwd), nogil());
    m.def("conv_depthwise_dgrad", with_stream(conv_depthwise_dgrad), nogil());
    m.def("conv_depthwise_wgrad", with_stream(conv_depthwise_wgrad), nogil());
    m.def("conv_depthwise_workspace", &conv_depthwise_workspace, nogil());
    m.def("conv_fft_filters_bytes", &conv_fft_filters_bytes, nogil());
    m.def("conv_fft_filters", with_stream(conv_fft_filters), nogil());
    m.def("conv_fft_tile", &conv_fft_tile, nogil());
    m.def("conv_fft_workspace", &conv_fft_workspace, nogil());
    m.def("conv_fft_fwd", with_stream(conv_fft_fwd), nogil());
    m.def("conv_fft_dgrad", with_stream(conv_fft_dgrad), nogil());
    m.def("conv_fft_wgrad", with_stream(conv_fft_wgrad), nogil());
    m.def("isa", [] { return simd().name; });
    m.def("set_isa", &set_isa);
    m.def("gemm", with_stream(gemm), nogil());
    m.def("max_pool2d_fwd", with_stream(max_pool2d_fwd), nogil());
    m.def("max_pool2d_bwd", with_stream(max_pool2d_bwd), nogil());
    m.def("avg_pool2d_fwd", with_stream(avg_pool2d_fwd), nogil());
    m.def("avg_pool2d_bwd", with_stream(avg_pool2d_bwd), nogil());
    m.def("softmax_fwd", with_stream(softmax_fwd), nogil());
    m.def("softmax_bwd", with_stream(softmax_bwd), nogil());
    m.def("cross_entropy", with_stream(cross_entropy), nogil());
    m.def("batch_norm_workspace", &batch_norm_workspace, nogil());
    m.def("batch_norm_stats", with_stream(batch_norm_stats), nogil());
    m.def("batch_norm_fwd", with_stream(batch_norm_fwd), nogil());
    m.def("batch_norm_bwd", with_stream(batch_norm_bwd), nogil());
    m.def("transpose_matrices", with_stream(transpose_matrices), nogil());
    m.def("gelu", with_stream(gelu), nogil());
    m.def("elu", with_stream(elu), nogil());
    m.def("leaky_relu_fwd", with_stream(leaky_relu_fwd), nogil());
    m.def("leaky_relu_bwd", with_stream(leaky_relu_bwd), nogil());
    m.def("sgd_step", with_stream(sgd_step), nogil());
    m.def("adam_step", with_stream(adam_step), nogil());
}
