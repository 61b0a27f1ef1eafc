// tests/fuzz/server_sent_events_fuzz.cpp: whatever text an event is made of, a client that reads as the standard says
// gets this one event, and comments are none: nothing of a text becomes another field or event. The client here follows
// https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation.
#include <weir/core/error.hpp>
#include <weir/net/server_sent_events.hpp>

#include <tests/fuzz/input.hpp>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace weir::fuzzing;
using weir::net::http::server_sent_event;

struct received {
  std::string data, type, id;
};

/// Text with its line ends as they arrive: LF between the lines.
std::string normal(std::string_view text) {
  std::string made;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n') continue;
    made += text[i] == '\r' ? '\n' : text[i];
  }
  return made;
}

class client {
 public:
  void read(std::string_view stream) {
    const auto lines = normal(stream);
    std::string_view rest = lines;
    for (auto end = rest.find('\n'); end != std::string_view::npos; end = rest.find('\n')) {
      line(rest.substr(0, end));
      rest.remove_prefix(end + 1);
    }
    require(rest.empty());  // everything sent ends a line
  }

  std::vector<received> events;
  std::string retry;

 private:
  void line(std::string_view text) {
    if (text.empty()) return dispatch();
    const auto colon = text.find(':');
    if (colon == 0) return;
    const auto name = text.substr(0, colon);
    auto value = colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
    if (name == "data") data_.append(value).append("\n");
    if (name == "event") type_ = value;
    if (name == "id" && value.find('\0') == std::string_view::npos) id_ = value;
    if (name == "retry") retry = value;
    require(name == "data" || name == "event" || name == "id" || name == "retry");
    has_data_ = has_data_ || name == "data";
  }
  void dispatch() {
    if (has_data_) {
      data_.pop_back();
      events.push_back({data_, type_, id_});
    }
    data_.clear();
    type_.clear();
    has_data_ = false;
  }

  std::string data_, type_, id_ = "before";
  bool has_data_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  choices in(data, size);
  server_sent_event event;
  event.type = in.text(20);
  if (in.one_in(2)) event.id = std::string(in.text(20));
  if (in.one_in(2)) event.retry = std::chrono::milliseconds(static_cast<std::int32_t>(in.word()));
  const std::string comment(in.text(30));
  event.data = in.rest();

  std::string stream;
  weir::net::http::append_comment(stream, comment);
  const auto before = stream;
  const auto breaks = [](std::string_view text) { return text.find_first_of("\r\n") != std::string_view::npos; };
  const bool bad = breaks(event.type) || (event.id && (breaks(*event.id) || event.id->find('\0') != std::string::npos));
  try {
    weir::net::http::append_event(stream, event);
    require(!bad && (!event.retry || event.retry->count() >= 0));
  } catch (const weir::error&) {
    require((bad || event.retry->count() < 0) && stream == before);
  }
  const bool sent = stream.size() != before.size();
  weir::net::http::append_comment(stream, comment);

  client listener;
  listener.read(stream);
  require(listener.events.size() == (sent ? 1 : 0));
  if (!sent) return 0;
  const auto& got = listener.events.front();
  require(got.data == normal(event.data) && got.type == event.type && got.id == event.id.value_or("before"));
  require(listener.retry == (event.retry ? std::to_string(event.retry->count()) : std::string()));
  return 0;
}
