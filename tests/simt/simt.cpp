// The fiber engine (see include/simt.h).
#include "simt.h"

#include <ucontext.h>

#include <csetjmp>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

// The linker provides these when some source has __shared__ variables.
extern char __start_simt_shared[] __attribute__((weak, visibility("hidden")));
extern char __stop_simt_shared[] __attribute__((weak, visibility("hidden")));

namespace simt {
namespace {

constexpr size_t kStackBytes = 64 * 1024 + 832;  // not a power of two: stacks of neighbours share no cache set
constexpr size_t kSharedLimit = 48 * 1024;       // what a launch may ask for without opting in to more
constexpr unsigned kSharedStart = 1024 + 16;     // address of the dynamic part

enum class State { fresh, ready, at_barrier, at_exchange, paused, done };

struct AsyncCopy {
    char* to;
    char data[16];
    size_t bytes;
};

struct Thread {
    uint3 id;
    State state;
    Site site;
    unsigned mask;
    uint64_t value;
    WarpOperation together;
    uint64_t gathered[32];
    int fiber;
    std::deque<std::vector<AsyncCopy>> copies;  // by group, the oldest first; the last is open
};

struct Fiber {
    std::unique_ptr<char[]> stack{new char[kStackBytes]};
    jmp_buf context;
    bool started = false;
};

std::mutex launching;
std::mt19937_64 random_bits{0};
bool launch_refused = false;
std::map<const void*, size_t> shared_limits;  // by kernel

// All of the running block.
const std::function<void()>* kernel;
std::vector<Thread> threads;
std::vector<std::unique_ptr<Fiber>> fibers;
std::vector<int> free_fibers;
std::vector<std::vector<int>> candidates;  // per warp: the threads that can go on, fresh or ready
std::vector<int> warp_order;
std::vector<char> shared;
std::vector<std::function<void()>> background;
uint64_t blocks = 0;
int running, finished, waiting;
std::string failure;
jmp_buf scheduler;

// _setjmp and _longjmp switch stacks without the system call that swapcontext makes for the signal mask.
__attribute__((noinline)) void switch_to(jmp_buf& from, jmp_buf& to) {
    if (!_setjmp(from)) _longjmp(to, 1);
}

std::string text_of(Site site) {
    std::string file = site.file;
    return file.substr(file.find_last_of('/') + 1) + ":" + std::to_string(site.line);
}

std::string name_of(const Thread& thread) {
    return "thread (" + std::to_string(thread.id.x) + ", " + std::to_string(thread.id.y) + ", " +
           std::to_string(thread.id.z) + ")";
}

void fiber_main() {
    for (;;) {
        const int index = running;
        try {
            (*kernel)();
        } catch (const std::exception& error) {
            failure = error.what();
        }
        threads[index].state = State::done;
        ++finished;
        free_fibers.push_back(threads[index].fiber);
        switch_to(fibers[threads[index].fiber]->context, scheduler);
    }
}

void start(Fiber& fiber) {
    fiber.started = true;
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = fiber.stack.get();
    context.uc_stack.ss_size = kStackBytes;
    context.uc_link = nullptr;
    makecontext(&context, fiber_main, 0);
    if (!_setjmp(scheduler)) setcontext(&context);
}

void resume(int index) {
    Thread& thread = threads[index];
    running = index;
    threadIdx = thread.id;
    if (thread.state == State::fresh) {
        if (free_fibers.empty()) {
            free_fibers.push_back(int(fibers.size()));
            fibers.push_back(std::make_unique<Fiber>());
        }
        thread.fiber = free_fibers.back();
        free_fibers.pop_back();
    }
    Fiber& fiber = *fibers[thread.fiber];
    if (fiber.started)
        switch_to(scheduler, fiber.context);
    else
        start(fiber);
}

template <class T>
void shuffle_all(std::vector<T>& list) {
    for (size_t i = 1; i < list.size(); ++i) std::swap(list[i], list[random_bits() % (i + 1)]);
}

// Takes out the next thread to run, or -1: a random lane of the first warp, in warp_order, that can go on. So one warp
// may run far ahead of another, as on a GPU; lanes taken from all warps alike would keep them abreast and hide races.
int next_thread() {
    for (int warp : warp_order) {
        std::vector<int>& lanes = candidates[warp];
        if (lanes.empty()) continue;
        std::swap(lanes[random_bits() % lanes.size()], lanes.back());
        const int index = lanes.back();
        lanes.pop_back();
        return index;
    }
    return -1;
}

void make_ready(int index) {
    threads[index].state = State::ready;
    candidates[index / 32].push_back(index);
}

bool same(Site a, Site b) { return a.line == b.line && !std::strcmp(a.file, b.file); }

void release_barrier() {
    for (const Thread& thread : threads)
        if (!same(thread.site, threads[0].site)) {
            failure = "divergent __syncthreads: " + name_of(threads[0]) + " waits at " + text_of(threads[0].site) +
                      ", but " + name_of(thread) + " at " + text_of(thread.site);
            return;
        }
    waiting = 0;
    for (size_t i = 0; i < threads.size(); ++i) make_ready(int(i));
    shuffle_all(warp_order);
}

// Lets the lanes of the warp of `index` go on if all of the mask are here.
void release_exchange(int index) {
    const Thread& last = threads[index];
    const int first = index / 32 * 32;
    uint64_t brought[32];
    std::memset(brought, 0xFF, sizeof brought);
    for (int lane = 0; lane < 32; ++lane) {
        if (!(last.mask >> lane & 1)) continue;
        const size_t other = size_t(first + lane);
        if (other >= threads.size() || threads[other].state == State::done) {
            failure = "divergent warp exchange at " + text_of(last.site) + ": the mask holds lane " +
                      std::to_string(lane) + ", which has exited or does not exist";
            return;
        }
        // A lane that is elsewhere may still come: that it never does shows when nothing can go on.
        if (threads[other].state != State::at_exchange || threads[other].mask != last.mask ||
            !same(threads[other].site, last.site))
            return;
        brought[lane] = threads[other].value;
    }
    if (last.together) last.together(brought);
    for (int lane = 0; lane < 32; ++lane)
        if (last.mask >> lane & 1) {
            std::memcpy(threads[first + lane].gathered, brought, sizeof brought);
            make_ready(first + lane);
        }
}

// Nothing can go on: says where two threads wait that should have met, or that the others have exited.
void describe_deadlock() {
    const Thread* first = nullptr;
    for (const Thread& thread : threads) {
        if (thread.state == State::done) continue;
        if (!first) {
            first = &thread;
            const std::map<State, const char*> what{{State::at_barrier, "divergent __syncthreads: "},
                                                    {State::at_exchange, "divergent warp exchange: "},
                                                    {State::paused, "a wait without end: "}};
            failure = what.at(first->state) + name_of(*first) + " waits at " + text_of(first->site) + ", but " +
                      std::to_string(finished) + " of " + std::to_string(threads.size()) +
                      " threads of the block have exited";
        } else if (!same(thread.site, first->site)) {
            failure += " and " + name_of(thread) + " waits at " + text_of(thread.site);
            return;
        }
    }
}

void work_in_background() {
    std::swap(background[random_bits() % background.size()], background.back());
    const std::function<void()> work = std::move(background.back());
    background.pop_back();
    work();
}

void run_block(uint3 block_index, dim3 block, size_t shared_bytes) {
    blockIdx = block_index;
    ++blocks;
    if (__start_simt_shared) std::memset(__start_simt_shared, 0xFF, __stop_simt_shared - __start_simt_shared);
    shared.assign(shared_bytes, char(0xFF));
    threads.resize(size_t(block.x) * block.y * block.z);
    finished = waiting = 0;
    candidates.assign((threads.size() + 31) / 32, {});
    warp_order.clear();
    for (size_t i = 0; i < threads.size(); ++i) {
        threads[i].id = {unsigned(i % block.x), unsigned(i / block.x % block.y), unsigned(i / block.x / block.y)};
        threads[i].state = State::fresh;
        threads[i].copies.assign(1, {});
        candidates[i / 32].push_back(int(i));
        if (i % 32 == 0) warp_order.push_back(int(i / 32));
    }
    shuffle_all(warp_order);
    while (failure.empty() && size_t(finished) < threads.size()) {
        const int index = !background.empty() && random_bits() % 16 == 0 ? -1 : next_thread();
        if (index >= 0)
            resume(index);
        else if (!background.empty())
            work_in_background();
        else
            return describe_deadlock();
    }
    if (failure.empty() && !background.empty()) failure = "a block ends before what it started has arrived";
}

}  // namespace

void launch(const void* function, dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& body) {
    const std::lock_guard<std::mutex> lock(launching);
    const auto limit = shared_limits.find(function);
    const uint64_t threads_per_block = uint64_t(block.x) * block.y * block.z;
    if (grid.x < 1 || grid.y < 1 || grid.z < 1 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535 ||
        threads_per_block < 1 || threads_per_block > 1024 || block.z > 64 ||
        shared_bytes > (limit == shared_limits.end() ? kSharedLimit : limit->second)) {
        launch_refused = true;
        return;
    }
    kernel = &body;
    blockDim = block;
    gridDim = grid;
    std::vector<uint64_t> order(uint64_t(grid.x) * grid.y * grid.z);
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    shuffle_all(order);
    for (uint64_t i : order) {
        run_block({unsigned(i % grid.x), unsigned(i / grid.x % grid.y), unsigned(i / grid.x / grid.y)}, block,
                  shared_bytes);
        if (!failure.empty()) {
            fibers.clear();  // the stacks of the threads that still wait are given up
            free_fibers.clear();
            background.clear();
            throw std::runtime_error("simt: " + std::exchange(failure, ""));
        }
    }
}

bool take_refusal() { return std::exchange(launch_refused, false); }

void allow_shared(const void* function, size_t bytes) {
    const std::lock_guard<std::mutex> lock(launching);
    shared_limits[function] = bytes;
}

void* dynamic_shared() { return shared.data(); }

void wait_for_block(Site site) {
    Thread& thread = threads[running];
    thread.state = State::at_barrier;
    thread.site = site;
    if (++waiting == int(threads.size())) release_barrier();
    switch_to(fibers[thread.fiber]->context, scheduler);
}

const uint64_t* exchange(unsigned mask, uint64_t value, Site site, WarpOperation together) {
    const int index = running;
    Thread& thread = threads[index];
    thread.mask = mask;
    thread.value = value;
    thread.together = together;
    thread.state = State::at_exchange;
    thread.site = site;
    if (mask >> lane() & 1)
        release_exchange(index);
    else
        failure = "warp exchange at " + text_of(site) + ": " + name_of(thread) + " is not in its own mask";
    switch_to(fibers[thread.fiber]->context, scheduler);
    return thread.gathered;
}

void pause(Site site) {
    Thread& thread = threads[running];
    thread.state = State::paused;
    thread.site = site;
    switch_to(fibers[thread.fiber]->context, scheduler);
}

void wake() {
    for (size_t i = 0; i < threads.size(); ++i)
        if (threads[i].state == State::paused) make_ready(int(i));
    shuffle_all(warp_order);
}

void later(std::function<void()> work) { background.push_back(std::move(work)); }

unsigned shared_address(const void* pointer) {
    const auto offset = static_cast<const char*>(pointer) - shared.data();
    if (offset < 0 || size_t(offset) > shared.size()) throw std::runtime_error("not an address of shared memory");
    return kSharedStart + unsigned(offset);
}

void* at_shared_address(unsigned address, size_t bytes) {
    if (address < kSharedStart || address - kSharedStart + bytes > shared.size())
        throw std::runtime_error("an address outside of the block's shared memory");
    return shared.data() + (address - kSharedStart);
}

uint64_t block_number() { return blocks; }

void async_copy(void* to, const void* from, size_t bytes, size_t zeros) {
    if (reinterpret_cast<uintptr_t>(to) % bytes || (zeros < bytes && reinterpret_cast<uintptr_t>(from) % bytes))
        throw std::runtime_error("an asynchronous copy of " + std::to_string(bytes) + " bytes is not aligned to them");
    AsyncCopy copy{static_cast<char*>(to), {}, bytes};
    std::memcpy(copy.data, from, bytes - zeros);
    std::memset(to, 0xFF, bytes);
    threads[running].copies.back().push_back(copy);
}

void async_commit() { threads[running].copies.emplace_back(); }

void async_wait(int groups) {
    auto& copies = threads[running].copies;
    for (; copies.size() > size_t(groups) + 1; copies.pop_front())
        for (const AsyncCopy& copy : copies.front()) std::memcpy(copy.to, copy.data, copy.bytes);
}

}  // namespace simt

// The tests set the seed of the order in which fibers and blocks run.
extern "C" __attribute__((visibility("default"))) void simt_seed(uint64_t seed) {
    const std::lock_guard<std::mutex> lock(simt::launching);
    simt::random_bits.seed(seed);
}
