// The one thread pool (OpenMP). Every loop over independent units of work goes through parallel_for.
#pragma once
#include <cstdint>
#include <functional>

// How many threads parallel_for may use: the CPUs this process may run on, unless set. 1 in a forked child whose
// parent had used the pool, because the pool's threads do not survive a fork and libgomp would wait for them.
int num_threads();
void set_num_threads(int count);

// num_threads(), or fewer where `operations` (about a nanosecond each) would not repay waking a thread.
int threads_for(int64_t operations);

// work(unit, thread) for every unit in [0, units), 0 <= thread < threads. Units go to whichever thread is free, so
// what they compute must not depend on the thread. The first exception is thrown again in the calling thread.
void parallel_for(int64_t units, int threads, const std::function<void(int64_t unit, int thread)>& work);

// work(first, size) for blocks of a few thousand that cover [0, count), on threads_for(operations) threads.
void parallel_blocks(int64_t count, int64_t operations, const std::function<void(int64_t first, int64_t size)>& work);
