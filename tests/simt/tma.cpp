// The models of barriers and of the tensor memory accelerator (hopper_model.h). State belongs to the running block, and
// is made anew when another one runs.
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "hopper_model.h"

namespace {

[[noreturn]] void refuse(const std::string& text) { throw std::runtime_error(text); }

struct Arrived {
    char* to;
    std::vector<char> bytes;
};

struct BarrierState {
    unsigned arrivals, missing;  // of a phase, and of the present one
    int64_t bytes = 0;           // expected and not yet there
    uint64_t phase = 0;
    bool fenced = false;
    std::vector<Arrived> arrived;
};

struct Store {
    const char* from;
    std::vector<char> bytes;     // when it started
    std::function<void()> read;  // and write to the array
    int delays;                  // before it is read, if nobody waits for it
    bool awaited = false, done = false;
};

using StoreGroups = std::deque<std::vector<std::shared_ptr<Store>>>;  // the oldest first; the last is open

struct Block {
    uint64_t number;
    std::map<uint64_t*, BarrierState> barriers;
    std::map<int, int> arrivals;             // by number: of all calls of sync_part_of_block
    std::map<unsigned, uint32_t> fenced;     // by warp: the lanes that fenced after its last store
    std::map<unsigned, StoreGroups> stores;  // by thread
};

Block& block() {
    static Block state{};
    if (state.number != simt::block_number()) state = {simt::block_number(), {}, {}, {}, {}};
    return state;
}

BarrierState& state_of(uint64_t* barrier) {
    const auto at = block().barriers.find(barrier);
    if (at == block().barriers.end()) refuse("an mbarrier is used before it is initialised");
    return at->second;
}

void end_phase_if_complete(BarrierState& state) {
    if (state.missing || state.bytes) return;
    ++state.phase;
    state.missing = state.arrivals;
    for (const Arrived& box : state.arrived) std::memcpy(box.to, box.bytes.data(), box.bytes.size());
    state.arrived.clear();
    simt::wake();
}

// What the stand-in for cuda.h hides in a CUtensorMap.
struct TensorMap {
    const char* address;
    int64_t size[4], apart[4];  // in elements, x first; apart[0] = 1
    int box[3], stride[2];      // tiled; im2col: channels and positions, strides of w and h
    int lower[2], upper[2];     // of w and h
    bool im2col, swizzled;
};
static_assert(sizeof(TensorMap) <= sizeof(CUtensorMap));

TensorMap decode(const CUtensorMap* map, bool im2col) {
    if (reinterpret_cast<uintptr_t>(map) % 64) refuse("a tensor map is not aligned to 64 bytes");
    TensorMap result;
    std::memcpy(&result, map, sizeof result);
    if (result.im2col != im2col) refuse("the tensor map is of the other mode");
    return result;
}

// Where element i of a row of a box lies. The swizzle follows the address, in rows of 128 bytes: its bits 4 to 6 are
// XORed with 7 to 9.
unsigned place_in_box(const TensorMap& m, int row, int i) {
    const unsigned at = unsigned(row * m.box[0] + i) * 2;
    return m.swizzled ? at ^ (at >> 7 & 7) << 4 : at;
}

void require_aligned(const void* shared, const TensorMap& m) {
    const unsigned start = simt::shared_address(shared);
    if (start % 128) refuse("a box is not aligned to 128 bytes of shared memory");
    if (m.swizzled && start % 1024) refuse("a swizzled box that does not start a pattern of 1024 bytes");
}

// The element of a tiled box that begins at (z, y, x), or null outside of the array.
const char* in_tiled_box(const TensorMap& m, int x, int y, int z, int row, int i) {
    const int64_t at[3] = {int64_t(x) + i, int64_t(y) + row % m.box[1], int64_t(z) + row / m.box[1]};
    int64_t offset = 0;
    for (int axis = 0; axis < 3; ++axis) {
        if (at[axis] < 0 || at[axis] >= m.size[axis]) return nullptr;
        offset += at[axis] * m.apart[axis];
    }
    return m.address + offset * 2;
}

// Fills the rows of a box, then delivers it to the barrier, later; element(row, i) is an address or null.
template <class F>
void load(void* shared, const TensorMap& m, uint64_t* barrier, int rows, F element) {
    const int in_row = m.box[0];
    const size_t bytes = size_t(rows) * in_row * 2;
    require_aligned(shared, m);
    if (!state_of(barrier).fenced) refuse("a load on an mbarrier whose initialisation was not fenced");
    Arrived box{static_cast<char*>(shared), std::vector<char>(bytes)};
    for (int row = 0; row < rows; ++row)
        for (int i = 0; i < in_row; ++i)
            if (const char* from = element(row, i)) std::memcpy(&box.bytes[place_in_box(m, row, i)], from, 2);
    std::memset(shared, 0xFF, bytes);
    simt::later([barrier, box = std::move(box)] {
        BarrierState& state = state_of(barrier);
        state.bytes -= int64_t(box.bytes.size());
        state.arrived.push_back(box);
        end_phase_if_complete(state);
    });
}

void work_on(const std::shared_ptr<Store>& store) {
    if (!store->awaited && store->delays-- > 0) return simt::later([store] { work_on(store); });
    store->read();
    store->done = true;
    simt::wake();
}

// Common to both modes; strides of elements that are not 1 are for im2col.
bool encode(TensorMap& m, CUtensorMap* map, int rank, void* address, const cuuint64_t* size, const cuuint64_t* apart,
            CUtensorMapSwizzle swizzle) {
    m.address = static_cast<const char*>(address);
    m.swizzled = swizzle == CU_TENSOR_MAP_SWIZZLE_128B;
    if (reinterpret_cast<uintptr_t>(address) % 16 || reinterpret_cast<uintptr_t>(map) % 64) return false;
    m.apart[0] = 1;
    for (int i = 0; i < rank; ++i) {
        m.size[i] = int64_t(size[i]);
        if (size[i] < 1 || size[i] > uint64_t(1) << 32) return false;
        if (i == 0) continue;
        if (apart[i - 1] % 16 || apart[i - 1] >= uint64_t(1) << 40) return false;
        m.apart[i] = int64_t(apart[i - 1] / 2);
    }
    if (m.box[0] < 1 || m.box[0] > 256 || m.box[0] * 2 % 16 || (m.swizzled && m.box[0] * 2 > 128)) return false;
    std::memcpy(map, &m, sizeof m);
    return true;
}

}  // namespace

namespace hopper_model {

void barrier_init(uint64_t* barrier, unsigned arrivals) {
    if (reinterpret_cast<uintptr_t>(barrier) % 8) refuse("an mbarrier is not aligned to 8 bytes");
    BarrierState state{};
    state.arrivals = state.missing = arrivals;
    block().barriers[barrier] = state;
}

void barrier_init_fence() {
    for (auto& [barrier, state] : block().barriers) state.fenced = true;
}

void barrier_arrive(uint64_t* barrier, unsigned expected_bytes) {
    BarrierState& state = state_of(barrier);
    if (state.missing == 0) refuse("an arrival too many at an mbarrier");
    state.bytes += expected_bytes;
    --state.missing;
    end_phase_if_complete(state);
}

void barrier_wait(uint64_t* barrier, unsigned parity, simt::Site site) {
    while (state_of(barrier).phase % 2 == parity) simt::pause(site);
}

void sync_part_of_block(int number, int threads, simt::Site site) {
    int& arrivals = block().arrivals[number];
    const int all = (arrivals / threads + 1) * threads;
    if (++arrivals == all) simt::wake();
    while (arrivals < all) simt::pause(site);
}

void load_box(void* shared, const CUtensorMap* map, uint64_t* barrier, int x, int y, int z) {
    const TensorMap m = decode(map, false);
    load(shared, m, barrier, m.box[1] * m.box[2], [&](int row, int i) { return in_tiled_box(m, x, y, z, row, i); });
}

void store_fence() { block().fenced[threadIdx.x / 32] |= 1u << threadIdx.x % 32; }

void store_box(const void* shared, const CUtensorMap* map, int x, int y, int z) {
    const TensorMap m = decode(map, false);
    const int rows = m.box[1] * m.box[2];
    require_aligned(shared, m);
    if (std::exchange(block().fenced[threadIdx.x / 32], 0) != 0xffffffffu)
        refuse("a store of what not all lanes of the warp have fenced");
    const char* const from = static_cast<const char*>(shared);
    const auto read = [=] {
        for (int row = 0; row < rows; ++row)
            for (int i = 0; i < m.box[0]; ++i)
                if (const char* to = in_tiled_box(m, x, y, z, row, i))
                    std::memcpy(const_cast<char*>(to), from + place_in_box(m, row, i), 2);
    };
    static int stores = 0;
    const int delays = ++stores % 2 * 40;  // early as well as late
    const std::vector<char> bytes(from, from + size_t(rows) * m.box[0] * 2);
    const auto store = std::make_shared<Store>(Store{from, bytes, read, delays});
    StoreGroups& groups = block().stores[threadIdx.x];
    if (groups.empty()) groups.emplace_back();
    groups.back().push_back(store);
    simt::later([store] { work_on(store); });
}

void store_commit() { block().stores[threadIdx.x].emplace_back(); }

void store_wait(int groups, simt::Site site) {
    StoreGroups& mine = block().stores[threadIdx.x];
    for (; mine.size() > size_t(groups) + 1; mine.pop_front())
        for (const auto& store : mine.front()) {
            store->awaited = true;
            while (!store->done) simt::pause(site);
            if (std::memcmp(store->from, store->bytes.data(), store->bytes.size()))
                refuse("shared memory changed before its store was waited for");
        }
}

void load_im2col(void* shared, const CUtensorMap* map, uint64_t* barrier, int c, int w, int h, int n, int offset_w,
                 int offset_h) {
    const TensorMap m = decode(map, true);
    if (offset_w < 0 || offset_w > 255 || offset_h < 0 || offset_h > 255) refuse("an im2col offset outside 0 .. 255");
    std::vector<int64_t> starts(m.box[1], -1);  // of the pixels; -1: outside
    for (int64_t& start : starts) {
        const int64_t x = int64_t(w) + offset_w, y = int64_t(h) + offset_h;
        if (x >= 0 && x < m.size[1] && y >= 0 && y < m.size[2] && n >= 0 && n < m.size[3])
            start = x * m.apart[1] + y * m.apart[2] + n * m.apart[3];
        if ((w += m.stride[0]) < m.size[1] + m.upper[0]) continue;
        w = m.lower[0];
        if ((h += m.stride[1]) < m.size[2] + m.upper[1]) continue;
        h = m.lower[1];
        ++n;
    }
    load(shared, m, barrier, m.box[1], [&](int row, int i) -> const char* {
        return starts[row] < 0 || c + i < 0 || c + i >= m.size[0] ? nullptr : m.address + (starts[row] + c + i) * 2;
    });
}

}  // namespace hopper_model

CUresult cuTensorMapEncodeTiled(CUtensorMap* map, CUtensorMapDataType, cuuint32_t rank, void* address,
                                const cuuint64_t* size, const cuuint64_t* apart, const cuuint32_t* box,
                                const cuuint32_t* strides, CUtensorMapInterleave, CUtensorMapSwizzle swizzle,
                                CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
    TensorMap m{};
    if (rank != 3) return CUDA_ERROR_INVALID_VALUE;  // the model's limit
    for (int i = 0; i < 3; ++i) {
        if (box[i] < 1 || box[i] > 256 || strides[i] != 1) return CUDA_ERROR_INVALID_VALUE;
        m.box[i] = int(box[i]);
    }
    return encode(m, map, 3, address, size, apart, swizzle) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuTensorMapEncodeIm2col(CUtensorMap* map, CUtensorMapDataType, cuuint32_t rank, void* address,
                                 const cuuint64_t* size, const cuuint64_t* apart, const int* lower, const int* upper,
                                 cuuint32_t channels, cuuint32_t positions, const cuuint32_t* strides,
                                 CUtensorMapInterleave, CUtensorMapSwizzle swizzle, CUtensorMapL2promotion,
                                 CUtensorMapFloatOOBfill) {
    TensorMap m{};
    if (rank != 4 || channels > 256 || positions < 1 || positions > 1024) return CUDA_ERROR_INVALID_VALUE;
    m.im2col = true;
    m.box[0] = int(channels), m.box[1] = int(positions);
    for (int i = 0; i < 2; ++i) {
        if (lower[i] < -128 || lower[i] > 127 || upper[i] < -128 || upper[i] > 127) return CUDA_ERROR_INVALID_VALUE;
        if (strides[i + 1] < 1 || strides[i + 1] > 8) return CUDA_ERROR_INVALID_VALUE;
        m.lower[i] = lower[i], m.upper[i] = upper[i], m.stride[i] = int(strides[i + 1]);
    }
    return encode(m, map, 4, address, size, apart, swizzle) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
