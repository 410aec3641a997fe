#include "threads.h"

#include <omp.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <stdexcept>
#include <string>

namespace {

std::atomic<int> threads_wanted{0};  // 0: not set yet
std::atomic<bool> pool_used{false};
std::atomic<bool> pool_lost{false};  // in a forked child

int usable_cpus() {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
    return std::max(1, omp_get_num_procs());  // more CPUs than cpu_set_t holds
}

}  // namespace

int num_threads() {
    if (pool_lost) return 1;
    int wanted = threads_wanted;
    if (wanted == 0) threads_wanted = wanted = usable_cpus();
    return wanted;
}

void set_num_threads(int count) {
    if (count < 1 || count > 4096)
        throw std::invalid_argument("set_num_threads: takes 1 to 4096 threads, but came " + std::to_string(count));
    threads_wanted = count;
}

int threads_for(int64_t operations) {
    constexpr int64_t worth_a_thread = 20000;
    return static_cast<int>(std::clamp<int64_t>(operations / worth_a_thread, 1, num_threads()));
}

void parallel_for(int64_t units, int threads, const std::function<void(int64_t, int)>& work) {
    threads = static_cast<int>(std::min<int64_t>(threads, units));
    if (threads <= 1 || pool_lost) {
        for (int64_t unit = 0; unit < units; ++unit) work(unit, 0);
        return;
    }
    if (!pool_used.exchange(true)) pthread_atfork(nullptr, nullptr, [] { pool_lost = true; });
    std::exception_ptr failure;
    std::atomic<bool> failed{false};
    // Blocks small enough to balance, large enough that taking one costs nothing beside a tiny unit.
    const int64_t block = std::max<int64_t>(1, units / (int64_t(threads) * 16));
#pragma omp parallel for schedule(dynamic, block) num_threads(threads)
    for (int64_t unit = 0; unit < units; ++unit) {
        if (failed.load(std::memory_order_relaxed)) continue;
        try {
            work(unit, omp_get_thread_num());
        } catch (...) {
            if (!failed.exchange(true)) failure = std::current_exception();
        }
    }
    if (failure) std::rethrow_exception(failure);
}

void parallel_blocks(int64_t count, int64_t operations, const std::function<void(int64_t first, int64_t size)>& work) {
    constexpr int64_t kBlock = 4096;
    parallel_for((count + kBlock - 1) / kBlock, threads_for(operations),
                 [&](int64_t block, int) { work(block * kBlock, std::min(kBlock, count - block * kBlock)); });
}
