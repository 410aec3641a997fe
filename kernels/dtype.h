// The element types that cross from Python to native code, under the names that NumPy gives them.
// tf32 is float32 storage whose products may run on TF32 tensor cores; only a GEMM tells it from float32.
#pragma once
#include <stdexcept>
#include <string>

enum class DType { float32, tf32, float16, bfloat16, float64 };

inline DType dtype_from_name(const std::string& name) {
    if (name == "float32") return DType::float32;
    if (name == "tf32") return DType::tf32;
    if (name == "float16") return DType::float16;
    if (name == "bfloat16") return DType::bfloat16;
    if (name == "float64") return DType::float64;
    throw std::invalid_argument("dtype: takes float32, tf32, float16, bfloat16 or float64, but came " + name);
}

inline const char* name_of(DType dtype) {
    switch (dtype) {
        case DType::float32:
            return "float32";
        case DType::tf32:
            return "tf32";
        case DType::float16:
            return "float16";
        case DType::bfloat16:
            return "bfloat16";
        case DType::float64:
            return "float64";
    }
    return "unknown";
}

// Bytes of one stored element.
inline int size_of(DType dtype) {
    if (dtype == DType::float64) return 8;
    return dtype == DType::float16 || dtype == DType::bfloat16 ? 2 : 4;
}
