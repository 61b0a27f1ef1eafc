// net/http_raw_stream.cpp: reads through the connection's receiver and writes through its sender, so that nothing that
// had arrived before the switch is lost.
#include <weir/net/http_connection.hpp>
#include <weir/net/http_raw_stream.hpp>

#include <algorithm>
#include <cstring>
#include <utility>

namespace weir::net::http {

std::string_view raw_stream::head() const noexcept { return connection_->input_; }

task<std::span<const std::byte>> raw_stream::next() {
  auto& c = *connection_;
  c.check_worker();
  if (c.input_.empty()) co_await c.receive();
  auto got = std::exchange(c.input_, {});
  co_return std::as_bytes(std::span(got));
}

task<std::size_t> raw_stream::read(std::span<std::byte> into) {
  auto& c = *connection_;
  c.check_worker();
  if (into.empty()) co_return 0;
  if (c.input_.empty()) co_await c.receive();
  auto count = std::min(into.size(), c.input_.size());
  if (count != 0) std::memcpy(into.data(), c.input_.data(), count);
  c.input_.remove_prefix(count);
  co_return count;
}

void raw_stream::check_open() const {
  auto& c = *connection_;
  c.check_worker();
  if (c.response_.destroyed_) throw error(errc::err_stream_destroyed);
  if (ended_) throw error(errc::err_stream_write_after_end);
}

io::sender::drain_awaiter raw_stream::write(std::string_view bytes) {
  auto& c = *connection_;
  check_open();
  c.out_.buffer().append(bytes);
  c.bytes_out_ += bytes.size();
  c.queue_flush();
  return c.room();
}

io::sender::drain_awaiter raw_stream::write(std::span<const std::byte> bytes) {
  return write(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

task<void> raw_stream::send(std::span<const std::byte> piece) {
  auto& c = *connection_;
  check_open();
  co_await c.send_piece(piece);
}

task<void> raw_stream::end() {
  auto& c = *connection_;
  check_open();
  ended_ = true;
  co_await c.out_.drain();
  co_await c.stream_.shutdown_write();
}

void raw_stream::destroy() noexcept { connection_->response_.destroy(); }
const address& raw_stream::remote() const noexcept { return connection_->remote(); }
std::uint64_t raw_stream::bytes_in() const noexcept { return connection_->bytes_in_; }
std::uint64_t raw_stream::bytes_out() const noexcept { return connection_->bytes_out_; }

}  // namespace weir::net::http
