#include <covey/covey.hpp>

#include <cstdio>

covey::task<int> half(int x) { co_return x / 2; }

covey::task<int> answer() {
    const int a = co_await half(42);
    const int b = co_await half(42);
    co_return a + b;
}

int main() {
    const int result = covey::sync_wait(answer());
    std::printf("%d\n", result);
    return result == 42 ? 0 : 1;
}
