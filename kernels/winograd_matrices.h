// Written by `python -m gpucnn.conv.winograd`; do not edit. Transform matrices of Winograd's F(m, r).
// Rows (columns of AT) 1 and 2, 3 and 4, ... are of points p and -p: equal but for the sign of odd powers.
#pragma once

// clang-format off
template <int m, int r> struct Winograd;
template <> struct Winograd<2, 3> {
    struct AT {
        static constexpr int rows = 2, cols = 4;
        static constexpr float at[2][4] = {{1.0f, 1.0f, 1.0f, 0.0f}, {0.0f, 1.0f, -1.0f, 1.0f}};
    };
    struct G {
        static constexpr int rows = 4, cols = 3;
        static constexpr float at[4][3] = {{1.0f, 0.0f, 0.0f}, {0.5f, 0.5f, 0.5f}, {0.5f, -0.5f, 0.5f}, {0.0f, 0.0f, 1.0f}};
    };
    struct BT {
        static constexpr int rows = 4, cols = 4;
        static constexpr float at[4][4] = {{1.0f, 0.0f, -1.0f, 0.0f}, {0.0f, 1.0f, 1.0f, 0.0f}, {0.0f, -1.0f, 1.0f, 0.0f}, {0.0f, -1.0f, 0.0f, 1.0f}};
    };
};
template <> struct Winograd<4, 3> {
    struct AT {
        static constexpr int rows = 4, cols = 6;
        static constexpr float at[4][6] = {{1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 0.0f}, {0.0f, 0.7058823529411765f, -0.7058823529411765f, 1.4166666666666667f, -1.4166666666666667f, 0.0f}, {0.0f, 0.4982698961937716f, 0.4982698961937716f, 2.0069444444444446f, 2.0069444444444446f, 0.0f}, {0.0f, 0.3517199267250153f, -0.3517199267250153f, 2.8431712962962963f, -2.8431712962962963f, 1.0f}};
    };
    struct G {
        static constexpr int rows = 6, cols = 3;
        static constexpr float at[6][3] = {{1.0f, 0.0f, 0.0f}, {0.6651349844708131f, 0.4695070478617504f, 0.33141673966711793f}, {0.6651349844708131f, -0.4695070478617504f, 0.33141673966711793f}, {0.1651349844708131f, 0.23394122800031855f, 0.33141673966711793f}, {0.1651349844708131f, -0.23394122800031855f, 0.33141673966711793f}, {0.0f, 0.0f, 1.0f}};
    };
    struct BT {
        static constexpr int rows = 6, cols = 6;
        static constexpr float at[6][6] = {{1.0f, 0.0f, -2.505214340638216f, 0.0f, 1.0f, 0.0f}, {0.0f, 1.4166666666666667f, 2.0069444444444446f, -0.7058823529411765f, -1.0f, 0.0f}, {0.0f, -1.4166666666666667f, 2.0069444444444446f, 0.7058823529411765f, -1.0f, 0.0f}, {0.0f, -0.7058823529411765f, -0.4982698961937716f, 1.4166666666666667f, 1.0f, 0.0f}, {0.0f, 0.7058823529411765f, -0.4982698961937716f, -1.4166666666666667f, 1.0f, 0.0f}, {0.0f, 1.0f, 0.0f, -2.505214340638216f, 0.0f, 1.0f}};
    };
};
template <> struct Winograd<3, 2> {
    struct AT {
        static constexpr int rows = 3, cols = 4;
        static constexpr float at[3][4] = {{1.0f, 1.0f, 1.0f, 0.0f}, {0.0f, 1.0f, -1.0f, 0.0f}, {0.0f, 1.0f, 1.0f, 1.0f}};
    };
    struct G {
        static constexpr int rows = 4, cols = 2;
        static constexpr float at[4][2] = {{1.0f, 0.0f}, {0.5f, 0.5f}, {0.5f, -0.5f}, {0.0f, 1.0f}};
    };
    struct BT {
        static constexpr int rows = 4, cols = 4;
        static constexpr float at[4][4] = {{1.0f, 0.0f, -1.0f, 0.0f}, {0.0f, 1.0f, 1.0f, 0.0f}, {0.0f, -1.0f, 1.0f, 0.0f}, {0.0f, -1.0f, 0.0f, 1.0f}};
    };
};
template <> struct Winograd<3, 4> {
    struct AT {
        static constexpr int rows = 3, cols = 6;
        static constexpr float at[3][6] = {{1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 0.0f}, {0.0f, 0.7058823529411765f, -0.7058823529411765f, 1.4166666666666667f, -1.4166666666666667f, 0.0f}, {0.0f, 0.4982698961937716f, 0.4982698961937716f, 2.0069444444444446f, 2.0069444444444446f, 1.0f}};
    };
    struct G {
        static constexpr int rows = 6, cols = 4;
        static constexpr float at[6][4] = {{1.0f, 0.0f, 0.0f, 0.0f}, {0.6651349844708131f, 0.4695070478617504f, 0.33141673966711793f, 0.23394122800031855f}, {0.6651349844708131f, -0.4695070478617504f, 0.33141673966711793f, -0.23394122800031855f}, {0.1651349844708131f, 0.23394122800031855f, 0.33141673966711793f, 0.4695070478617504f}, {0.1651349844708131f, -0.23394122800031855f, 0.33141673966711793f, -0.4695070478617504f}, {0.0f, 0.0f, 0.0f, 1.0f}};
    };
    struct BT {
        static constexpr int rows = 6, cols = 6;
        static constexpr float at[6][6] = {{1.0f, 0.0f, -2.505214340638216f, 0.0f, 1.0f, 0.0f}, {0.0f, 1.4166666666666667f, 2.0069444444444446f, -0.7058823529411765f, -1.0f, 0.0f}, {0.0f, -1.4166666666666667f, 2.0069444444444446f, 0.7058823529411765f, -1.0f, 0.0f}, {0.0f, -0.7058823529411765f, -0.4982698961937716f, 1.4166666666666667f, 1.0f, 0.0f}, {0.0f, 0.7058823529411765f, -0.4982698961937716f, -1.4166666666666667f, 1.0f, 0.0f}, {0.0f, 1.0f, 0.0f, -2.505214340638216f, 0.0f, 1.0f}};
    };
};
// clang-format on
