// covey: a program becomes a mesh of equal peers. This header brings everything that users write.
#pragma once

#include <covey/core/error.hpp>
#include <covey/core/id.hpp>
#include <covey/core/time.hpp>

#include <covey/task/async_mutex.hpp>
#include <covey/task/channel.hpp>
#include <covey/task/co_invoke.hpp>
#include <covey/task/event.hpp>
#include <covey/task/fork.hpp>
#include <covey/task/future.hpp>
#include <covey/task/latch.hpp>
#include <covey/task/on.hpp>
#include <covey/task/parallel.hpp>
#include <covey/task/schedule.hpp>
#include <covey/task/scope.hpp>
#include <covey/task/semaphore.hpp>
#include <covey/task/stop.hpp>
#include <covey/task/stream.hpp>
#include <covey/task/sync_wait.hpp>
#include <covey/task/task.hpp>
#include <covey/task/timeout.hpp>
#include <covey/task/when_all.hpp>
#include <covey/task/when_any.hpp>

#include <covey/sched/blocking.hpp>
#include <covey/sched/default_pool.hpp>

#include <covey/mesh/member.hpp>

#include <covey/call/expose.hpp>
#include <covey/call/map.hpp>
#include <covey/call/options.hpp>
#include <covey/call/remote.hpp>

#include <covey/peer.hpp>
#include <covey/run.hpp>
