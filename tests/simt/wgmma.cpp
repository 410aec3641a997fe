// The models of a warpgroup's products (hopper_model.h): each warp computes its 16 rows when the product starts, and
// stores them when it is waited for.
#include <cmath>
#include <cstring>
#include <deque>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda_runtime.h"
#include "hopper_model.h"
#include "tensor_core_model.h"

namespace {

[[noreturn]] void refuse(const std::string& text) { throw std::runtime_error("wgmma: " + text); }

constexpr unsigned kPoison = 0xFFFFFFFFu;  // of sums: NaN

using Matrix = std::vector<uint16_t>;

struct Product {
    uint64_t a, b;  // descriptors
    bool transposed;
    Matrix held_a, held_b;
    float* key;  // the sums of lane 0
    int count;   // of a lane's sums: half as many as columns
};

struct Sums {
    float* registers[32];
    float values[32][128];
    int products = 0;  // that add to them and were not waited for
};

struct Warp {
    bool fenced = false;
    std::deque<std::vector<Product>> groups{1};  // the oldest first; the last is open
    std::map<float*, Sums> sums;
};

unsigned warp_index() { return threadIdx.x / 32; }

// The running warp, of the running block.
Warp& this_warp() {
    static uint64_t block = 0;
    static std::map<unsigned, Warp> warps;
    if (block != simt::block_number()) warps.clear();
    block = simt::block_number();
    return warps[warp_index()];
}

// Rows first .. first + count of an operand, 16 terms each.
Matrix operand(uint64_t descriptor, bool transposed, int first, int count) {
    if (descriptor >> 62 != 1) refuse("the model knows operands with the 128-byte swizzle only");
    const auto field = [&](int bit) { return unsigned(descriptor >> bit & 0x3FFF) << 4; };
    const unsigned start = field(0), leading = field(16), stride = field(32);
    Matrix result(size_t(count) * 16);
    for (int i = 0; i < count; ++i)
        for (int k = 0; k < 16; ++k) {
            const unsigned row = first + i, term = k;
            unsigned at = start + (transposed ? row / 64 * leading + term / 8 * stride + term % 8 * 128 + row % 64 * 2
                                              : row / 8 * stride + row % 8 * 128 + term * 2);
            at ^= (at >> 7 & 7) << 4;
            std::memcpy(&result[i * 16 + k], simt::at_shared_address(at, 2), 2);
        }
    return result;
}

template <class T>
std::vector<double> values_of(const Matrix& matrix) {
    std::vector<double> values(matrix.size());
    for (size_t i = 0; i < matrix.size(); ++i) {
        T element;
        std::memcpy(&element, &matrix[i], 2);
        values[i] = static_cast<float>(element);
    }
    return values;
}

template <class T>
void add_product(const Product& product, Sums& sums) {
    const std::vector<double> a = values_of<T>(product.held_a), b = values_of<T>(product.held_b);
    bool finite = true;
    for (double value : b) finite &= std::isfinite(value);
    for (int row = 0; row < 16; ++row) {
        bool zero = finite;  // such a row, of padding, adds nothing
        for (int k = 0; k < 16; ++k) zero &= a[row * 16 + k] == 0;
        if (zero) continue;
        for (int column = 0; column < 2 * product.count; ++column) {
            float& sum = sums.values[row % 8 * 4 + column % 8 / 2][column / 8 * 4 + row / 8 * 2 + column % 2];
            for (int k = 0; k < 16; k += 8) {
                double products[8];
                for (int i = 0; i < 8; ++i) products[i] = a[row * 16 + k + i] * b[column * 16 + k + i];
                sum = tensor_core_model::truncating_sum(sum, products, 8);
            }
        }
    }
}

struct Operands {
    bool float16;
    float* sums;
    int count;
    uint64_t a, b;
    bool transposed;
};

void start_product(const uint64_t* brought) {
    const auto lane = [&](int i) { return reinterpret_cast<const Operands*>(brought[i]); };
    Warp& warp = this_warp();
    if (!warp.fenced) refuse("the sums were touched after the last wgmma.fence");
    Sums& sums = warp.sums[lane(0)->sums];
    const int count = lane(0)->count;
    for (int l = 0; l < 32; ++l) {
        if (lane(l)->a != lane(0)->a || lane(l)->b != lane(0)->b) refuse("the lanes have different operands");
        if (sums.products == 0) {
            sums.registers[l] = lane(l)->sums;
            std::memcpy(sums.values[l], lane(l)->sums, count * sizeof(float));
            std::fill_n(reinterpret_cast<unsigned*>(lane(l)->sums), count, kPoison);
        }
    }
    const uint64_t a = lane(0)->a, b = lane(0)->b;
    const int first_row = int(warp_index() % 4) * 16;
    const bool transposed = lane(0)->transposed;
    Product product{
        a,    b, transposed, operand(a, transposed, first_row, 16), operand(b, transposed, 0, 2 * count), lane(0)->sums,
        count};
    lane(0)->float16 ? add_product<__half>(product, sums) : add_product<__nv_bfloat16>(product, sums);
    ++sums.products;
    warp.groups.back().push_back(std::move(product));
}

void finish_product(Warp& warp, const Product& product) {
    const int first_row = int(warp_index() % 4) * 16;
    if (operand(product.a, product.transposed, first_row, 16) != product.held_a ||
        operand(product.b, product.transposed, 0, 2 * product.count) != product.held_b)
        refuse("an operand changed before the product was waited for");
    Sums& sums = warp.sums.at(product.key);
    if (--sums.products) return;
    for (int l = 0; l < 32; ++l) {
        for (int i = 0; i < product.count; ++i)
            if (std::memcmp(&sums.registers[l][i], &kPoison, 4)) refuse("sums were written while at work");
        std::memcpy(sums.registers[l], sums.values[l], product.count * sizeof(float));
    }
    warp.sums.erase(product.key);
    warp.fenced = false;
}

constexpr int kWarpgroup = 128;

struct Registers {
    int wanted = 0;    // a thread
    int arrivals = 0;  // of all calls so far
};

// Of the running warpgroup, of the running block.
Registers& this_registers() {
    static uint64_t block = 0;
    static std::map<unsigned, Registers> warpgroups;
    if (block != simt::block_number()) warpgroups.clear();
    block = simt::block_number();
    return warpgroups[threadIdx.x / kWarpgroup];
}

}  // namespace

namespace hopper_model {

void wgmma_fence(simt::Site site) {
    simt::exchange(0xffffffffu, 0, site, [](const uint64_t*) { this_warp().fenced = true; });
}

void wgmma_start(bool float16, float* sums, int count, uint64_t a, uint64_t b, bool transposed, simt::Site site) {
    const Operands operands{float16, sums, count, a, b, transposed};
    simt::exchange(0xffffffffu, reinterpret_cast<uint64_t>(&operands), site, start_product);
}

void wgmma_commit(simt::Site site) {
    simt::exchange(0xffffffffu, 0, site, [](const uint64_t*) { this_warp().groups.emplace_back(); });
}

void wgmma_wait(int groups, simt::Site site) {
    simt::exchange(0xffffffffu, uint64_t(groups), site, [](const uint64_t* brought) {
        Warp& warp = this_warp();
        for (; warp.groups.size() > brought[0] + 1; warp.groups.pop_front())
            for (const Product& product : warp.groups.front()) finish_product(warp, product);
    });
}

void set_registers(int registers, simt::Site site) {
    if (registers < 24 || registers > 256 || registers % 8)
        throw std::runtime_error("setmaxnreg: takes a multiple of 8 in 24 .. 256");
    Registers& mine = this_registers();
    if (mine.arrivals % kWarpgroup == 0) mine.wanted = registers;
    if (mine.wanted != registers) throw std::runtime_error("setmaxnreg: threads of a warpgroup want different numbers");
    const int all = (mine.arrivals / kWarpgroup + 1) * kWarpgroup;
    if (++mine.arrivals == all) simt::wake();
    while (mine.arrivals < all) simt::pause(site);
}

}  // namespace hopper_model
