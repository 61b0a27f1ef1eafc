#include <weir/io/pipeline.hpp>

#include <algorithm>

namespace weir::io::streams {

using weir::detail::spin_guard;

void pipeline_watch::add(std::shared_ptr<stream_core> stage, bool keep) {
  if (stage == nullptr) throw error(errc::err_stream_unable_to_pipe);
  if (keep) kept_ = stage;
  stages_.push_back(std::move(stage));
}

void pipeline_watch::keep(std::shared_ptr<void> object) { objects_.push_back(std::move(object)); }

void pipeline_watch::start(const std::shared_ptr<pipeline_watch>& self, scope& within) {
  scope_ = &within;
  for (auto& each : stages_) each->watch(self);
}

void pipeline_watch::failed(stream_core& which, const std::exception_ptr& why) noexcept {
  note(why ? why : which.why_closed());
}

void pipeline_watch::note(const std::exception_ptr& why) noexcept {
  auto stages = all_stages();
  if (is_disinterest(why, stages) || !record(why)) return;
  for (auto& each : stages) each->destroy(why);
  stop();
}

// A stage that drops the stream before it, because it has seen enough, makes writes into that fail: its own affair.
bool pipeline_watch::is_disinterest(const std::exception_ptr& why, const stage_list& stages) noexcept {
  return failure(why).is("ERR_STREAM_DESTROYED") &&
         std::ranges::any_of(stages, [](const auto& each) { return each->abandoned(); });
}

pipeline_watch::stage_list pipeline_watch::all_stages() const {
  spin_guard guard(lock_);
  return stages_;
}

// Stages that are destroyed fail with the first failure again, or find others destroyed: that is no news.
bool pipeline_watch::record(const std::exception_ptr& why) noexcept {
  spin_guard guard(lock_);
  if (over_) return false;
  if (first_ == nullptr) {
    first_ = why;
    return true;
  }
  failure later(why);
  if (why != first_ && std::ranges::find(later_, why) == later_.end() && !later.is_cancelled() &&
      !later.is("ERR_STREAM_DESTROYED") && !later.is("ERR_STREAM_PREMATURE_CLOSE"))
    later_.push_back(why);
  return false;
}

void pipeline_watch::stop() noexcept {
  spin_guard guard(lock_);
  if (scope_ != nullptr) scope_->cancel();
}

void pipeline_watch::complete() noexcept {
  {
    spin_guard guard(lock_);
    if (first_ != nullptr) return;
    over_ = true;
  }
  for (auto& each : stages_) {
    if (each != kept_) each->destroy(nullptr);
  }
  stop();
}

void pipeline_watch::leave() noexcept {
  spin_guard guard(lock_);
  scope_ = nullptr;
}

void pipeline_watch::release() noexcept {
  stage_list stages;
  {
    spin_guard guard(lock_);
    over_ = true;
    stages.swap(stages_);
  }
  for (auto& each : stages) each->watch(nullptr);
}

std::exception_ptr pipeline_watch::outcome() {
  spin_guard guard(lock_);
  if (first_ == nullptr || later_.empty()) return first_;
  return attach(first_, std::move(later_));
}

namespace {
task<void> run_pump(task<void> pump) {
  static_cast<void>(co_await attempt(std::move(pump)));  // whoever watches it knows
}
}  // namespace

void start_pumps(scope& within, std::vector<task<void>>& pumps, bool local) {
  for (auto& each : pumps) {
    if (local) {
      static_cast<void>(within.spawn_local(run_pump, std::move(each)));
    } else {
      static_cast<void>(within.spawn(run_pump, std::move(each)));
    }
  }
  pumps.clear();
}

}  // namespace weir::io::streams
