// weir.hpp: the everyday surface in one include: tasks, scopes, combinators, cancellation, the event loop's
// queues and timers, blocking functions, async-local values, generators, buffers, emitters and the runtime. The other
// rooms are included by name.
#pragma once

#include <weir/core/abort.hpp>
#include <weir/core/blocking.hpp>
#include <weir/core/buffer.hpp>
#include <weir/core/combine.hpp>
#include <weir/core/config.hpp>
#include <weir/core/context.hpp>
#include <weir/core/emitter.hpp>
#include <weir/core/encoding.hpp>
#include <weir/core/error.hpp>
#include <weir/core/event.hpp>
#include <weir/core/generator.hpp>
#include <weir/core/inspect.hpp>
#include <weir/core/loop.hpp>
#include <weir/core/result.hpp>
#include <weir/core/runtime.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/string_decoder.hpp>
#include <weir/core/task.hpp>
#include <weir/core/text_decoder.hpp>
#include <weir/core/time.hpp>
#include <weir/core/warning.hpp>
