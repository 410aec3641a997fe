// Picks the table of simd/ that fits the CPU.
#include "simd/simd.h"

#include <atomic>
#include <stdexcept>

namespace portable {
extern const SimdTable table;
}
#ifdef GPUCNN_X86
namespace avx2 {
extern const SimdTable table;
}
namespace avx512 {
extern const SimdTable table;
}
#endif

namespace {

const SimdTable* find(const std::string& name) {
    const bool any = name == "auto";
#ifdef GPUCNN_X86
    const bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                            __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if ((any || name == "avx512") && has_avx512) return &avx512::table;
    if ((any || name == "avx2") && has_avx2) return &avx2::table;
#endif
    if (any || name == "portable") return &portable::table;
    throw std::invalid_argument("set_isa: takes auto, portable, or avx2 or avx512 where the CPU has it, but came " +
                                name);
}

std::atomic<const SimdTable*> chosen{nullptr};

}  // namespace

const SimdTable& simd() {
    const SimdTable* table = chosen;
    if (!table) chosen = table = find("auto");
    return *table;
}

void set_isa(const std::string& name) { chosen = find(name); }
