// The GPU architectures that this build holds code for, as nvcc itself lists them ("800,900").
// Called by csrc/bind_cuda.cpp for `gpucnn info`.
#include "kernels.h"

#define TEXT_OF(...) #__VA_ARGS__
#define VALUE_TEXT_OF(...) TEXT_OF(__VA_ARGS__)

const char* built_architectures() {
#ifdef __CUDA_ARCH_LIST__
    return VALUE_TEXT_OF(__CUDA_ARCH_LIST__);
#else
    return "none: built for the host";
#endif
}
