#include <weir/io/split.hpp>

#include <weir/core/error.hpp>

#include <algorithm>

namespace weir::io::streams {

cutter::cutter(std::string delimiter, kind how, const split_options& options)
    : delimiter_(std::move(delimiter)), limit_(options.max_length), how_(how) {
  if (delimiter_.empty()) throw error(errc::err_invalid_arg_value, "An empty delimiter would be everywhere");
}

void cutter::feed(buffer chunk) noexcept { chunk_ = std::move(chunk); }

bool cutter::next(buffer& piece) {
  if (chunk_.empty()) return false;
  if (auto skip = straddling(); skip != 0) return finish(0, skip, piece);
  auto at = chunk_.text().find(delimiter_);
  if (at != std::string_view::npos) return finish(at, delimiter_.size(), piece);
  hold_rest();
  return false;
}

// How many bytes of the chunk belong to a delimiter that began in what is held; that part is cut off there.
std::size_t cutter::straddling() const {
  if (held_.empty() || delimiter_.size() == 1) return 0;
  auto from_held = std::min(held_.size(), delimiter_.size() - 1);
  auto seam = held_.substr(held_.size() - from_held);
  seam.append(chunk_.text().substr(0, delimiter_.size() - 1));
  auto at = seam.find(delimiter_);
  return at == std::string::npos ? 0 : at + delimiter_.size() - from_held;
}

// A piece ends `in_chunk` bytes into the chunk, and `skip` bytes of the delimiter follow there.
bool cutter::finish(std::size_t in_chunk, std::size_t skip, buffer& piece) {
  if (held_.empty()) {
    piece = chunk_.take_front(in_chunk);
  } else {
    held_.append(chunk_.text().substr(0, in_chunk));
    held_.resize(held_.size() - (delimiter_.size() - skip));
    chunk_.remove_prefix(in_chunk);
    piece = buffer::adopt(std::exchange(held_, {}));
  }
  chunk_.remove_prefix(skip);
  piece = trimmed(std::move(piece));
  if (piece.size() > limit_) too_long();
  return true;
}

// What may still turn out to be the delimiter, or the CR of a line's end, does not count yet.
void cutter::hold_rest() {
  auto spare = delimiter_.size() - 1 + (how_ == at_line_end ? 1 : 0);
  if (held_.size() + chunk_.size() > limit_ + spare) too_long();
  held_.append(chunk_.text());
  chunk_ = {};
}

bool cutter::rest(buffer& piece) {
  if (held_.empty()) return false;
  piece = trimmed(buffer::adopt(std::exchange(held_, {})));
  if (piece.size() > limit_) too_long();
  return true;
}

buffer cutter::trimmed(buffer&& piece) const {
  if (how_ == at_line_end && piece.text().ends_with('\r')) piece.remove_suffix(1);
  return std::move(piece);
}

void cutter::too_long() const {
  throw error(errc::err_out_of_range,
              (how_ == at_line_end ? "Line" : "Piece") + (" exceeds max length: " + std::to_string(limit_)));
}

resizer::resizer(std::size_t size) : size_(size) {
  if (size == 0) throw error(errc::err_out_of_range, "Pieces of 0 bytes would never end");
}

void resizer::feed(buffer chunk) { chunk_ = std::move(chunk); }

bool resizer::next(buffer& piece) {
  if (filled_ == 0 && chunk_.size() >= size_) {
    piece = chunk_.take_front(size_);
    return true;
  }
  if (chunk_.empty()) return false;
  if (filled_ == 0) joined_ = buffer::alloc_unsafe(size_);
  auto count = std::min(chunk_.size(), size_ - filled_);
  std::copy_n(chunk_.data(), count, joined_.mutable_bytes().data() + filled_);
  chunk_.remove_prefix(count);
  filled_ += count;
  if (filled_ < size_) return false;
  piece = std::exchange(joined_, {});
  filled_ = 0;
  return true;
}

bool resizer::rest(buffer& piece) noexcept {
  if (filled_ == 0) return false;
  joined_.remove_suffix(size_ - filled_);
  piece = std::exchange(joined_, {});
  filled_ = 0;
  return true;
}

}  // namespace weir::io::streams
