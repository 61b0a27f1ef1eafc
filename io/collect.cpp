#include <weir/io/collect.hpp>

#include <weir/core/encoding.hpp>
#include <weir/core/error.hpp>

namespace weir::io::streams {

void too_many_items(std::size_t limit) {
  throw error(errc::err_out_of_range, "The stream has more than " + std::to_string(limit) + " items");
}

void byte_collector::add(buffer chunk) {
  if (chunk.size() > left_)
    throw error(errc::err_buffer_too_large, "The stream has more than " + std::to_string(max_) + " bytes");
  left_ -= chunk.size();
  chunks_.push_back(std::move(chunk));
}

buffer byte_collector::take() {
  if (chunks_.size() == 1) return std::move(chunks_.front());
  return buffer::concat(chunks_);
}

std::string byte_collector::take_text(invalid_text invalid) {
  auto all = take();
  if (is_utf8(all.bytes())) return std::string(all.text());
  if (invalid == invalid_text::fail) throw error(errc::err_encoding_invalid_encoded_data);
  return weir::to_text(all.bytes());
}

}  // namespace weir::io::streams
