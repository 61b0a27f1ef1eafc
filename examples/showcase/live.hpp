// examples/showcase/live.hpp: the figures of the program, measured twice a second and shared by everyone who looks.
#pragma once

#include <weir/sync/watch.hpp>
#include <weir/weir.hpp>

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace showcase {

struct app;

/// One moment, ready to be sent.
struct live_frame {
  std::string type, id, data;
};

/// Measures, and keeps the last minute. Each moment is written as JSON once, however many watch.
class live_figures {
 public:
  using frame = std::shared_ptr<const live_frame>;

  /// Measures until it is cancelled.
  weir::task<void> run(app& a);

  /// Whoever has it gets the newest moment, and passes over those that it was too slow for.
  weir::sync::observer<frame> observe() const { return latest_.observe_present(); }

  /// The moments after the one with that id, as a JSON list; all that are kept if it is not known.
  std::string since(std::string_view id) const;

  /// Tells who watches that the server closes, and ends what they observe.
  void close();

 private:
  void publish(std::string id, std::string sample, std::string_view all);

  weir::sync::watch<frame> latest_{frame()};
  mutable std::mutex mutex_;
  std::deque<std::pair<std::string, std::string>> past_;  // id and JSON
  bool closed_ = false;
};

}  // namespace showcase
