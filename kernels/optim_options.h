// The numbers of one optimiser step, in the type A that the step computes in. Shared by kernels/ and csrc/cpu.
#pragma once

// g = grad + weight_decay p;  v = momentum v + g;  p -= lr (g + momentum v if nesterov else v)
template <class A>
struct SgdOptions {
    A lr, momentum, weight_decay;
    bool nesterov;

    template <class B>
    explicit operator SgdOptions<B>() const {
        return {static_cast<B>(lr), static_cast<B>(momentum), static_cast<B>(weight_decay), nesterov};
    }
};

// g = grad + weight_decay p;  p *= shrink;  m += mean_rate (g - m);  s = beta2 s + square_rate g^2
// p -= lr m / (root_scale sqrt(s) + eps)
template <class A>
struct AdamOptions {
    A lr, shrink, mean_rate, beta2, square_rate, root_scale, eps, weight_decay;

    template <class B>
    explicit operator AdamOptions<B>() const {
        return {static_cast<B>(lr),    static_cast<B>(shrink),      static_cast<B>(mean_rate),
                static_cast<B>(beta2), static_cast<B>(square_rate), static_cast<B>(root_scale),
                static_cast<B>(eps),   static_cast<B>(weight_decay)};
    }
};
