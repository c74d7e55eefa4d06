// expect: covey: a vector holds no references: let the tasks give pointers
#include <covey/task/when_all.hpp>

covey::task<void> both(std::vector<covey::task<int&>> tasks) { co_await covey::when_all(std::move(tasks)); }
